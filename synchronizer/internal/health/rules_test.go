package health_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/tandem-cd/tandem/synchronizer/internal/health"
)

func parse(t testing.TB, text string) *unstructured.Unstructured {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(raw); err != nil { // numbers as the API machinery reads them
		t.Fatal(err)
	}
	return object
}

// What the shipped rules say of objects as the projects' controllers leave them.
func TestShippedRules(t *testing.T) {
	t.Parallel()
	judge, err := health.NewJudge(nil)
	if err != nil {
		t.Fatal(err)
	}
	type shape struct {
		status  string
		want    health.State
		message string
	}
	const (
		ready    = `{conditions: [{type: Ready, status: "True"}]}`
		notReady = `{conditions: [{type: Ready, status: "False", reason: Nope, message: "not yet"}]}`
	)
	unseen := shape{"", health.InProgress, ""}
	usual := []shape{unseen, {ready, health.Current, ""}, {notReady, health.InProgress, "not yet"}}
	strict := []shape{unseen, {ready, health.Current, ""}, {notReady, health.Failed, "not yet"}}
	cases := map[string][]shape{
		"cert-manager.io/v1 Certificate": usual,
		"cert-manager.io/v1 CertificateRequest": {
			unseen,
			{ready, health.Current, ""},
			{`{conditions: [{type: Ready, status: "False", reason: Pending, message: wait}]}`, health.InProgress, "wait"},
			{`{conditions: [{type: Ready, status: "False", reason: Failed, message: refused}]}`, health.Failed, "refused"},
			{`{conditions: [{type: Denied, status: "True"}, {type: Ready, status: "False", reason: Denied, message: refused}]}`, health.Failed, "refused"},
		},
		"acme.cert-manager.io/v1 Challenge": {unseen, {"{state: valid}", health.Current, ""}, {"{state: pending}", health.InProgress, ""}, {"{state: invalid, reason: no DNS}", health.Failed, "no DNS"}},
		"argoproj.io/v1alpha1 Rollout": {
			unseen,
			{`{observedGeneration: "2", phase: Healthy}`, health.Current, ""},
			{`{observedGeneration: "1", phase: Healthy}`, health.InProgress, "The controller has not looked at this generation yet."},
			{`{observedGeneration: "2", phase: Paused, message: CanaryPauseStep}`, health.InProgress, "CanaryPauseStep"},
			{`{observedGeneration: "2", phase: Degraded, message: aborted}`, health.Failed, "aborted"},
		},
		"flagger.app/v1beta1 Canary": {
			unseen,
			{"{phase: Initialized}", health.Current, ""},
			{"{phase: Progressing}", health.InProgress, ""},
			{`{phase: Failed, conditions: [{type: Promoted, status: "False", message: halted}]}`, health.Failed, "halted"},
		},
		"serving.knative.dev/v1 Service": append(strict, shape{`{conditions: [{type: Ready, status: Unknown, message: waits}]}`, health.InProgress, "waits"}),
		"pkg.crossplane.io/v1 Provider": {
			unseen,
			{`{conditions: [{type: Installed, status: "True"}]}`, health.InProgress, ""},
			{`{conditions: [{type: Installed, status: "True"}, {type: Healthy, status: "True"}]}`, health.Current, ""},
		},
		"s3.aws.upbound.io/v1beta1 Bucket": {
			unseen,
			{ready, health.Current, ""},
			{`{conditions: [{type: Ready, status: "True"}, {type: Synced, status: "False", message: denied}]}`, health.InProgress, "denied"},
		},
		"aws.upbound.io/v1beta1 ProviderConfig":            {{"", health.Current, ""}},
		"apiextensions.crossplane.io/v1 Composition":       {{"", health.Current, ""}},
		"external-secrets.io/v1 ExternalSecret":            usual,
		"bitnami.com/v1alpha1 SealedSecret":                {unseen, {`{conditions: [{type: Synced, status: "True"}]}`, health.Current, ""}, {`{conditions: [{type: Synced, status: "False", message: no key}]}`, health.Failed, "no key"}},
		"keda.sh/v1alpha1 ScaledObject":                    strict,
		"keda.sh/v1alpha1 TriggerAuthentication":           {{"", health.Current, ""}},
		"gateway.networking.k8s.io/v1 GatewayClass":        {unseen, {`{conditions: [{type: Accepted, status: "True"}]}`, health.Current, ""}, {`{conditions: [{type: Accepted, status: "False", reason: InvalidParameters, message: bad}]}`, health.Failed, "bad"}},
		"gateway.networking.k8s.io/v1beta1 ReferenceGrant": {{"", health.Current, ""}},
		"gateway.networking.k8s.io/v1 Gateway": {
			unseen,
			{`{conditions: [{type: Accepted, status: "True"}, {type: Programmed, status: "False", message: no address}]}`, health.InProgress, "no address"},
			{`{conditions: [{type: Accepted, status: "True"}, {type: Programmed, status: "True"}]}`, health.Current, ""},
			{`{conditions: [{type: Accepted, status: "True"}, {type: Programmed, status: "True", observedGeneration: 1}]}`, health.InProgress, ""},
		},
		"gateway.networking.k8s.io/v1 HTTPRoute": {
			unseen,
			{`{parents: []}`, health.InProgress, ""},
			{`{parents: [{conditions: [{type: Accepted, status: "True"}, {type: ResolvedRefs, status: "True"}]}]}`, health.Current, ""},
			{`{parents: [{conditions: [{type: Accepted, status: "True"}, {type: ResolvedRefs, status: "False", message: no backend}]}]}`, health.InProgress, "no backend"},
		},
		"networking.istio.io/v1 VirtualService": {{"", health.Current, ""}, {`{validationMessages: [{level: ERROR}]}`, health.Failed, ""}, {`{conditions: [{type: Reconciled, status: "False", message: 1/2}]}`, health.InProgress, "1/2"}},
		"monitoring.coreos.com/v1 Prometheus": {
			unseen,
			{`{conditions: [{type: Available, status: "True"}, {type: Reconciled, status: "True"}]}`, health.Current, ""},
			{`{conditions: [{type: Available, status: Degraded, message: 1 of 2}, {type: Reconciled, status: "True"}]}`, health.InProgress, "1 of 2"},
		},
		"monitoring.coreos.com/v1 ServiceMonitor": {{"", health.Current, ""}},
		"kafka.strimzi.io/v1 Kafka":               {unseen, {ready, health.Current, ""}, {`{conditions: [{type: NotReady, status: "True", message: creating}]}`, health.InProgress, "creating"}},
		"example.com/v1 Unruly":                   {{"", health.Current, ""}, {ready, health.Current, ""}},
	}
	for kind, shapes := range cases {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			version, name, _ := strings.Cut(kind, " ")
			for _, s := range shapes {
				text := "{apiVersion: " + version + ", kind: " + name + ", metadata: {name: a, generation: 2}}"
				if s.status != "" {
					text = strings.TrimSuffix(text, "}") + ", status: " + s.status + "}"
				}
				got := judge.Of(parse(t, text))
				if want := (health.Status{State: s.want, Message: s.message}); got != want {
					t.Errorf("%s\ngot %v %q, want %v %q", text, got.State, got.Message, want.State, want.Message)
				}
			}
		})
	}
}

func TestOwnRules(t *testing.T) {
	t.Parallel()
	object := parse(t, `{apiVersion: db.example.org/v1, kind: Database, metadata: {name: a, generation: 1}, spec: {size: 3}, status: {observedGeneration: 1, size: 2, list: [1, 2]}}`)
	cases := map[string]struct {
		rule health.Rule
		want health.Status
	}{
		"Current":         {health.Rule{Kind: "Database", Current: "self.status.size >= 2"}, health.Status{State: health.Current}},
		"InProgress":      {health.Rule{Kind: "Database", Current: "self.status.size == self.spec.size", Message: "'size ' + string(self.status.size)"}, health.Status{State: health.InProgress, Message: "size 2"}},
		"Failed":          {health.Rule{Kind: "Database", Current: "true", Failed: "self.status.size < self.spec.size"}, health.Status{State: health.Failed}},
		"AnyKind":         {health.Rule{Kind: "*", Current: "false"}, health.Status{State: health.InProgress}},
		"OtherKind":       {health.Rule{Kind: "Table", Current: "false"}, health.Status{State: health.Current}},
		"NotThere":        {health.Rule{Kind: "Database", Current: "self.status.nodes.ready", Failed: "self.status.broken"}, health.Status{State: health.InProgress}},
		"NotBool":         {health.Rule{Kind: "Database", Current: "self.status.size"}, health.Status{State: health.InProgress}},
		"LongMessage":     {health.Rule{Kind: "Database", Current: "false", Message: "'" + strings.Repeat("x", 1000) + "'"}, health.Status{State: health.InProgress, Message: strings.Repeat("x", 256)}},
		"TooMuchToDo":     {health.Rule{Kind: "Database", Current: "[1,2,3,4,5,6,7,8,9].all(a, [1,2,3,4,5,6,7,8,9].all(b, [1,2,3,4,5,6,7,8,9].all(c, [1,2,3,4,5,6,7,8,9].all(d, [1,2,3,4,5,6,7,8,9].all(e, true)))))"}, health.Status{State: health.InProgress}},
		"ConditionOfText": {health.Rule{Kind: "Database", Current: "self.spec.size.condition('Ready') == ''"}, health.Status{State: health.Current}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.rule.Group = "*.example.org"
			judge, err := health.NewJudge([]health.Rule{tc.rule})
			if err != nil {
				t.Fatal(err)
			}
			if got := judge.Of(object); got != tc.want {
				t.Errorf("got %v %q, want %v %q", got.State, got.Message, tc.want.State, tc.want.Message)
			}
		})
	}
}

// A rule comes before the shipped ones, and what every object has in common before any rule.
func TestOrderOfRules(t *testing.T) {
	t.Parallel()
	judge, err := health.NewJudge([]health.Rule{{Group: "cert-manager.io", Kind: "Issuer", Current: "true"}, {Group: "", Kind: "ConfigMap", Current: "false"}})
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		object string
		want   health.State
	}{
		"OverShipped": {"{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {name: a}}", health.Current},
		"OverBuiltIn": {"{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}", health.InProgress},
		"Deleted":     {"{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {name: a, deletionTimestamp: \"2026-01-01T00:00:00Z\"}}", health.Terminating},
		"Lagging":     {"{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {name: a, generation: 2}, status: {observedGeneration: 1}}", health.InProgress},
	}
	for name, tc := range cases {
		if got := judge.Of(parse(t, tc.object)); got.State != tc.want {
			t.Errorf("%s: got %v, want %v", name, got.State, tc.want)
		}
	}
	if got := judge.Of(nil); got.State != health.NotFound {
		t.Errorf("Of(nil): got %v", got)
	}
}

// A Sync's rules come before the cluster's, the shipped and the built-in ones, and leave the cluster's judge as it is.
func TestRulesOfASync(t *testing.T) {
	t.Parallel()
	cluster, err := health.NewJudge([]health.Rule{{Group: "example.org", Kind: "Database", Current: "true"}})
	if err != nil {
		t.Fatal(err)
	}
	own, err := cluster.With([]health.Rule{{Group: "example.org", Kind: "Database", Current: "false"}, {Kind: "ConfigMap", Current: "false"}})
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		object       string
		cluster, own health.State
	}{
		"OverCluster": {"{apiVersion: example.org/v1, kind: Database, metadata: {name: a}}", health.Current, health.InProgress},
		"OverBuiltIn": {"{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}", health.Current, health.InProgress},
		"OtherKind":   {"{apiVersion: v1, kind: Secret, metadata: {name: a}}", health.Current, health.Current},
		"Shipped":     {"{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {name: a}}", health.InProgress, health.InProgress},
	}
	for name, tc := range cases {
		object := parse(t, tc.object)
		if got := cluster.Of(object); got.State != tc.cluster {
			t.Errorf("%s: the cluster's judge: got %v, want %v", name, got.State, tc.cluster)
		}
		if got := own.Of(object); got.State != tc.own {
			t.Errorf("%s: the Sync's judge: got %v, want %v", name, got.State, tc.own)
		}
		kind := object.GroupVersionKind().GroupKind()
		if differs := tc.own != tc.cluster; own.Owns(kind) != differs || cluster.Owns(kind) {
			t.Errorf("%s: owned: %t by the Sync, %t by the cluster", name, own.Owns(kind), cluster.Owns(kind))
		}
	}
	if _, err := cluster.With(make([]health.Rule, 33)); err == nil || !strings.Contains(err.Error(), "33 rules: 32 are allowed") {
		t.Errorf("too many: got %v", err)
	}
	_, err = cluster.With([]health.Rule{{Kind: "A", Current: "true"}, {Group: "x.io", Kind: "B", Current: "true", Failed: "self.("}})
	if err == nil || !strings.HasPrefix(err.Error(), `[1], for B of "x.io": failed: ERROR: <input>:1:6`) {
		t.Errorf("syntax: got %v", err)
	}
}

func TestRulesAreRefused(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		rules []health.Rule
		want  string
	}{
		"NoKind":     {[]health.Rule{{Current: "true"}}, "kind and current are needed"},
		"NoCurrent":  {[]health.Rule{{Kind: "A"}}, "kind and current are needed"},
		"Syntax":     {[]health.Rule{{Kind: "A", Current: "true"}, {Group: "x.io", Kind: "B", Current: "self.("}}, `health rule 2, for B of "x.io": current:`},
		"Undeclared": {[]health.Rule{{Kind: "A", Current: "object.status.ok"}}, "undeclared reference to 'object'"},
		"Type":       {[]health.Rule{{Kind: "A", Current: "'yes'"}}, "is of type string: bool is needed"},
		"Message":    {[]health.Rule{{Kind: "A", Current: "true", Message: "1"}}, "message: is of type int: string is needed"},
		"Long":       {[]health.Rule{{Kind: "A", Current: strings.Repeat("!", 5000) + "true"}}, "5004 bytes: 4096 are allowed"},
		"Many":       {make([]health.Rule, 257), "257 health rules: 256 are allowed"},
	}
	for name, tc := range cases {
		if _, err := health.NewJudge(tc.rules); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
}

func BenchmarkOf(b *testing.B) {
	judge, err := health.NewJudge(nil)
	if err != nil {
		b.Fatal(err)
	}
	for name, text := range map[string]string{
		"ConfigMap":   "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}",
		"Certificate": `{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: a, generation: 1}, status: {conditions: [{type: Ready, status: "True", observedGeneration: 1}]}}`,
		"HTTPRoute":   `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: a}, status: {parents: [{conditions: [{type: Accepted, status: "True"}, {type: ResolvedRefs, status: "True"}]}]}}`,
	} {
		object := parse(b, text)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				judge.Of(object)
			}
		})
	}
}

func FuzzRule(f *testing.F) {
	f.Add("self.status.size > 1", `{"apiVersion": "x.example.org/v1", "kind": "A", "status": {"size": 2, "conditions": [{"type": "Ready"}, 1]}}`)
	f.Add("self.condition('Ready') == 'True'", `{"apiVersion": "x.example.org/v1", "kind": "A", "status": {"conditions": {}}}`)
	f.Fuzz(func(t *testing.T, expression, text string) {
		judge, err := health.NewJudge([]health.Rule{{Group: "*.example.org", Kind: "*", Current: expression}})
		if err != nil {
			return
		}
		object := &unstructured.Unstructured{}
		if object.UnmarshalJSON([]byte(text)) != nil {
			return
		}
		if got := judge.Of(object); len(got.Message) > 256 {
			t.Errorf("a message of %d bytes", len(got.Message))
		}
	})
}
