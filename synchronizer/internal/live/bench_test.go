package live

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/tandem-cd/tandem/synchronizer/internal/health"
	"github.com/tandem-cd/tandem/synchronizer/internal/kubetest"
)

// A Deployment as a cluster returns it, about 4 KiB as JSON.
const liveDeployment = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
  uid: 0d7c5c35-9a3d-4d5e-8a24-0f6c2a5d3c11
  resourceVersion: "184467"
  generation: 3
  creationTimestamp: "2026-11-01T10:00:00Z"
  labels: {app: web, tandem.dev/sync: shop.web}
  annotations: {tandem.dev/owner: Deployment.apps/shop/web, deployment.kubernetes.io/revision: "3"}
  managedFields:
    - manager: tandem-synchronizer
      operation: Apply
      apiVersion: apps/v1
      time: "2026-11-01T10:00:00Z"
      fieldsType: FieldsV1
      fieldsV1: {"f:metadata": {"f:annotations": {"f:tandem.dev/owner": {}}, "f:labels": {"f:app": {}, "f:tandem.dev/sync": {}}},
        "f:spec": {"f:replicas": {}, "f:selector": {}, "f:template": {"f:metadata": {"f:labels": {"f:app": {}}}, "f:spec": {"f:containers": {
          'k:{"name":"app"}': {".": {}, "f:name": {}, "f:image": {}, "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}},
          "f:resources": {"f:requests": {"f:cpu": {}, "f:memory": {}}}, "f:env": {'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}}}}}}}}}
    - manager: kube-controller-manager
      operation: Update
      subresource: status
      apiVersion: apps/v1
      time: "2026-11-01T10:00:09Z"
      fieldsType: FieldsV1
      fieldsV1: {"f:metadata": {"f:annotations": {"f:deployment.kubernetes.io/revision": {}}}, "f:status": {"f:availableReplicas": {}, "f:conditions": {".": {}, 'k:{"type":"Available"}': {".": {}, "f:status": {}, "f:type": {}}}}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 25%, maxUnavailable: 25%}}
  template:
    metadata: {labels: {app: web}}
    spec:
      restartPolicy: Always
      containers:
        - {name: app, image: "registry.example.com/shop/web:1.2.3", env: [{name: A, value: "1"}], ports: [{containerPort: 80, protocol: TCP}],
           resources: {requests: {cpu: 100m, memory: 64Mi}}, terminationMessagePath: /dev/termination-log, imagePullPolicy: IfNotPresent}
status:
  observedGeneration: 3
  replicas: 2
  updatedReplicas: 2
  readyReplicas: 2
  availableReplicas: 2
  conditions:
    - {type: Available, status: "True", reason: MinimumReplicasAvailable}
    - {type: Progressing, status: "True", reason: NewReplicaSetAvailable}
`

func BenchmarkIngest(b *testing.B) {
	obj := kubetest.Object(b, liveDeployment)
	b.ReportAllocs()
	for b.Loop() {
		pack(reduce(obj, health.Of))
	}
}

// BenchmarkMemory measures what a record costs to keep, index and all.
func BenchmarkMemory(b *testing.B) {
	const records = 10_000
	obj := kubetest.Object(b, liveDeployment)
	for b.Loop() {
		before := heap()
		w := watchConfigMaps("shop.web")
		list := make([]any, records)
		for i := range list {
			one := obj.DeepCopy()
			one.SetName(fmt.Sprintf("a-name-of-a-usual-length-%05d", i))
			one.SetUID("0d7c5c35-9a3d-4d5e-8a24-0f6c2a5d" + one.GetUID()[:4])
			list[i] = one
		}
		if err := w.Replace(list, "2"); err != nil {
			b.Fatal(err)
		}
		clear(list)
		b.ReportMetric(float64(heap()-before)/records, "B/record")
		runtime.KeepAlive(w)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // twice, for what finalizers held
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
