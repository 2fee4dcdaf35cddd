package live

import (
	"encoding/json"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tandem-cd/tandem/synchronizer/internal/health"
)

// Objects of the cluster are whatever those wrote who may.
func FuzzReduce(f *testing.F) {
	f.Add(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"shop","uid":"u","labels":{"tandem.dev/sync":"shop.web"},
		"managedFields":[{"manager":"tandem-synchronizer","operation":"Apply","fieldsV1":{"f:data":{"f:a":{}}}}]},"data":{"a":"1"}}`)
	f.Add(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"a","annotations":{"tandem.dev/owner":1},"managedFields":[1,{"fieldsV1":[]}]},"status":{"replicas":"x","conditions":{}}}`)
	f.Add(`{"apiVersion":"v1","kind":"Pod","metadata":[],"spec":{"containers":[1]},"status":{"containerStatuses":[{"imageID":"@"}]}}`)
	f.Fuzz(func(t *testing.T, text string) {
		object := &unstructured.Unstructured{Object: map[string]any{}}
		if json.Unmarshal([]byte(text), &object.Object) != nil || object.Object == nil {
			return
		}
		record := reduce(object, health.Of)
		if got := pack(record).unpack(record.GVK); got.Key != record.Key || got.Baseline != record.Baseline || got.Owned() != record.Owned() || got.Health != record.Health {
			t.Errorf("kept as %+v, was %+v", got, record)
		}
	})
}
