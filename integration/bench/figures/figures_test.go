package figures_test

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"testing"

	"github.com/tandem-cd/tandem/integration/bench/figures"
)

type report int

func (r report) JSON() ([]byte, error) { return fmt.Appendf(nil, `{"n":%d}`, int(r)), nil }

func table(out io.Writer, r report) error {
	_, err := fmt.Fprintf(out, "n is %d\n", int(r))
	return err
}

func TestPrint(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want string
	}{{nil, "n is 3\n"}, {[]string{"-o", "table"}, "n is 3\n"}, {[]string{"-o", "json"}, "{\"n\":3}\n"}} {
		flags := flag.NewFlagSet("bench", flag.ContinueOnError)
		format := figures.Flag(flags)
		if err := flags.Parse(c.args); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := figures.Print(&out, *format, report(3), table); err != nil || out.String() != c.want {
			t.Errorf("%q: got %q, %v; want %q", c.args, out.String(), err, c.want)
		}
	}
}

func TestAnUnknownFormatIsRefused(t *testing.T) {
	t.Parallel()
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	figures.Flag(flags)
	if err := flags.Parse([]string{"-o", "xml"}); err == nil {
		t.Error("xml was taken")
	}
}
