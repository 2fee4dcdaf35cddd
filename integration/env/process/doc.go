// Package process runs the programs of a test's world or the demo's: as child
// processes that write to log files, can be killed or asked to stop, and die
// with the process that started them, however that dies.
//
//	p, err := process.Start(process.Config{Name: "etcd", Log: "etcd.log", Command: []string{"etcd"}})
//	if err != nil {
//		return err
//	}
//	defer p.Kill()
//	if err := p.Ready(ctx, answers); err != nil {
//		return err
//	}
//
// FreePorts finds addresses for programs that have to be told theirs, and that
// keep them over a restart.
package process
