package kubecluster

import (
	"bytes"
	"testing"
)

func TestReadAudit(t *testing.T) {
	t.Parallel()
	const line = `{"stage":"ResponseComplete","verb":"patch","user":{"username":"a"},"impersonatedUser":{"username":"b"},` +
		`"objectRef":{"apiGroup":"apps","resource":"deployments","namespace":"n","name":"x"},"responseStatus":{"code":200}}`
	log := line + "\n" + `{"stage":"ResponseStarted","verb":"watch"}` + "\n" + line[:40]
	got, err := readAudit(bytes.NewBufferString(log))
	if err != nil {
		t.Fatal(err)
	}
	want := Request{Verb: "patch", User: "a", Impersonated: "b", Group: "apps", Resource: "deployments", Namespace: "n", Name: "x", Code: 200}
	if len(got) != 1 || got[0] != want {
		t.Errorf("readAudit(...): %+v, want one %+v", got, want)
	}
}
