package apply_test

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tandem-cd/tandem/synchronizer/internal/apply"
	"github.com/tandem-cd/tandem/synchronizer/internal/kubetest"
	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
)

func TestErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.admin(t, `{apiVersion: v1, kind: ResourceQuota, metadata: {name: one, namespace: `+w.namespace+`}, spec: {hard: {count/services: "0"}}}`)
	if err := w.run(t, w.step(t, `{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {selector: {matchLabels: {app: a}}, template: {metadata: {labels: {app: a}}, spec: {containers: [{name: a, image: "a:1"}]}}}}`))[0].Err; err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		desired string
		class   apply.Class
		says    string
	}{
		"UnknownField": {
			`{apiVersion: apps/v1, kind: Deployment, metadata: {name: b}, spec: {replica: 1, selector: {matchLabels: {app: a}}}}`,
			apply.Invalid, ".spec.replica: field not declared in schema (misspelt",
		},
		"WrongType": {
			`{apiVersion: apps/v1, kind: Deployment, metadata: {name: b}, spec: {replicas: one}}`,
			apply.Invalid, ".spec.replicas: expected numeric",
		},
		"Unquoted": {
			`{apiVersion: v1, kind: ConfigMap, metadata: {name: b}, data: {pin: 12345678}}`,
			apply.Invalid, ".data.pin: expected string, got a value of another type; quote it",
		},
		"MissingFields": {
			`{apiVersion: apps/v1, kind: Deployment, metadata: {name: b}, spec: {replicas: 1}}`,
			apply.Invalid, "spec.selector: Required value",
		},
		"BadName": {`{apiVersion: v1, kind: ConfigMap, metadata: {name: A_b}}`, apply.Invalid, "metadata.name: "},
		"Immutable": {
			`{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {selector: {matchLabels: {app: b}}, template: {metadata: {labels: {app: b}}, spec: {containers: [{name: a, image: "a:1"}]}}}}`,
			apply.Invalid, "cannot be changed in place",
		},
		"NoNamespace": {
			`{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: nowhere}}`,
			apply.Denied, `in namespace "nowhere"`, // whether it exists is nobody's business who may do nothing in it
		},
		"UnknownKind":    {`{apiVersion: apps/v1, kind: Deploymnet, metadata: {name: a}}`, apply.UnknownKind, "did you mean Deployment?"},
		"UnknownVersion": {`{apiVersion: apps/v1beta2, kind: Deployment, metadata: {name: a}}`, apply.UnknownKind, "apps/v1"},
		"Quota":          {`{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 80}]}}`, apply.Refused, "exceeded quota: one"},
		"TooLarge": {
			`{apiVersion: v1, kind: ConfigMap, metadata: {name: large}, data: {a: ` + strings.Repeat("x", 1<<20+1) + `}}`,
			apply.Invalid, "Too long",
		},
		"MuchTooLarge": {
			`{apiVersion: v1, kind: ConfigMap, metadata: {name: large}, data: {a: ` + strings.Repeat("x", 4<<20) + `}}`,
			apply.Invalid, "larger than the API server takes",
		},
		"Escalation": {
			`{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: a}, rules: [{apiGroups: ["*"], resources: ["*"], verbs: ["*"]}]}`,
			apply.Denied, "can only grant what it may do itself",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			step := w.step(t, tc.desired)
			err := w.run(t, step)[0].Err
			if apply.ClassOf(err) != tc.class || !strings.Contains(fmt.Sprint(err), tc.says) {
				t.Errorf("Run(...): %s: %v\nwant %s and %q", apply.ClassOf(err), err, tc.class, tc.says)
			}
			if !strings.HasPrefix(fmt.Sprint(err), step.Key.String()+": ") {
				t.Errorf("%v: does not say which object", err)
			}
		})
	}
}

// TestSecretsStayUnsaid holds that no error repeats what a Secret holds, whoever says it.
func TestSecretsStayUnsaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.admin(t, `{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {name: `+w.namespace+`},
		spec: {failurePolicy: Fail, matchConstraints: {resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [secrets]}],
			namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: `+w.namespace+`}}},
			validations: [{expression: "!has(object.data) || !('told' in object.data)", messageExpression: "'no: ' + string(object.data.told)"}]}}`)
	w.admin(t, `{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicyBinding, metadata: {name: `+w.namespace+`},
		spec: {policyName: `+w.namespace+`, validationActions: [Deny]}}`)
	cases := map[string]struct {
		content string
		secrets []string
		class   apply.Class
		says    string
	}{
		"NotBase64":    {`data: {password: "hunter2!hunter2"}`, []string{"hunter2"}, apply.Invalid, "not Base64"},
		"Number":       {`stringData: {pin: 48151623}`, []string{"48151623"}, apply.Invalid, ".stringData.pin: expected string"},
		"NumberInData": {`data: {pin: 48151623}`, []string{"48151623"}, apply.Invalid, ".data.pin: expected string"},
		"List":         {`stringData: {pins: [one-pin, two-pin]}`, []string{"one-pin", "two-pin"}, apply.Invalid, ".stringData.pins: expected string"},
		"NoDocker":     {`type: kubernetes.io/dockerconfigjson, stringData: {.dockerconfigjson: "hunter2-docker"}`, []string{"hunter2"}, apply.Invalid, "data"},
		"NoKey":        {`stringData: {"a key hunter2": x}`, nil, apply.Invalid, "data"},
		"Type":         {`type: 48151623`, []string{"48151623"}, apply.Invalid, ".type: expected string"},
		"Policy":       {`data: {told: aHVudGVyMi10b2xk}`, []string{"hunter2", "aHVudGVyMi10b2xk"}, apply.Refused, "admission policy"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			step := w.step(t, `{apiVersion: v1, kind: Secret, metadata: {name: `+strings.ToLower(name)+`}, `+tc.content+`}`)
			deadline := time.After(time.Minute)
			err := w.run(t, step)[0].Err
			for err == nil && tc.class == apply.Refused { // until the API server has noticed the policy
				select {
				case <-deadline:
					t.Fatal("the policy does nothing")
				case <-time.After(200 * time.Millisecond):
					step.Key.Name += "x"
					step.Desired.Object.SetName(step.Key.Name)
					err = w.run(t, step)[0].Err
				}
			}
			if apply.ClassOf(err) != tc.class || !strings.Contains(fmt.Sprint(err), tc.says) {
				t.Errorf("Run(...): %s: %v\nwant %s and %q", apply.ClassOf(err), err, tc.class, tc.says)
			}
			for cause := err; cause != nil; cause = errors.Unwrap(cause) {
				for _, secret := range tc.secrets {
					if strings.Contains(cause.Error(), secret) {
						t.Errorf("%q is in %v", secret, cause)
					}
				}
			}
		})
	}
}

// The rule that an error names is the rule that helps.
func TestDeniedNamesTheRule(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.who.ServiceAccount = "weak"
	step := w.configMap(t, "a", "1")
	err := w.run(t, step)[0].Err
	rule := regexp.MustCompile(`\{apiGroups: .*\}`).FindString(fmt.Sprint(err))
	if apply.ClassOf(err) != apply.Denied || rule == "" {
		t.Fatalf("Run(...): %v, want denied with a rule", err)
	}
	w.admin(t, `{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: weak, namespace: `+w.namespace+`}, rules: [`+rule+`]}`)
	w.admin(t, `{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: weak, namespace: `+w.namespace+`},
		roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: weak}, subjects: [{kind: ServiceAccount, name: weak, namespace: `+w.namespace+`}]}`)
	made := w.settled(t, step)
	again := w.configMap(t, "a", "2") // takes the way of an object that nobody told us of
	if err := w.run(t, again)[0].Err; err != nil {
		t.Errorf("with that rule: %v", err)
	}
	removal := plan.Step{Action: plan.Delete, Key: step.Key, GVK: configMapKind, UID: made.Object.GetUID()}
	if err := w.run(t, removal)[0].Err; apply.ClassOf(err) != apply.Denied || !strings.Contains(err.Error(), `verbs: ["delete"]`) {
		t.Errorf("removal without the right to: %v, want the rule for it", err)
	}
}

// settled takes a step until the API server has noticed new permissions.
func (w *world) settled(t *testing.T, step plan.Step) apply.Result {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		result := w.run(t, step)[0]
		if apply.ClassOf(result.Err) != apply.Denied {
			return result
		}
		select {
		case <-deadline:
			t.Fatal(result.Err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestDeniedToImpersonate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nobody := kubetest.WithToken(w.config, kubetest.Token(t, w.client, w.namespace, "nobody"))
	err := w.runAs(t, w.applier(t, nobody), w.label, w.configMap(t, "a", "1"))[0].Err
	if apply.ClassOf(err) != apply.Denied || !strings.Contains(fmt.Sprint(err), "may not act as service account "+w.namespace+"/tandem") {
		t.Errorf("Run(...) of a synchronizer without rights: %v", err)
	}
}

func TestTerminatingNamespace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bind(t, "ClusterRoleBinding", "", "ClusterRole", "cluster-admin")
	name := w.namespace + "-ends"
	namespace := kubetest.Object(t, "{apiVersion: v1, kind: Namespace, metadata: {name: "+name+"}}")
	w.admin(t, fmt.Sprintf(`{apiVersion: v1, kind: Namespace, metadata: {name: %s}}`, name))
	w.admin(t, fmt.Sprintf(`{apiVersion: v1, kind: ConfigMap, metadata: {name: stays, namespace: %s, finalizers: [example.com/wait]}}`, name))
	if err := w.at(t, namespace).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	err := w.run(t, w.step(t, fmt.Sprintf(`{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: %s}}`, name)))[0].Err
	if apply.ClassOf(err) != apply.NoNamespace || !apply.ClassOf(err).Temporary() {
		t.Errorf("Run(...): %s: %v, want that it waits for the namespace", apply.ClassOf(err), err)
	}
	err = w.run(t, w.step(t, fmt.Sprintf(`{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: %s-never}}`, name)))[0].Err
	if apply.ClassOf(err) != apply.NoNamespace {
		t.Errorf("Run(...): %s: %v, want that there is no namespace", apply.ClassOf(err), err)
	}
	w.admin(t, fmt.Sprintf(`{apiVersion: v1, kind: ConfigMap, metadata: {name: stays, namespace: %s, finalizers: []}}`, name))
}

func TestAdmission(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.admin(t, fmt.Sprintf(`{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {name: %[1]s},
		spec: {failurePolicy: Fail, matchConstraints: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}},
			resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]},
		validations: [{expression: "false", message: not on a Friday}]}}`, w.namespace))
	w.admin(t, fmt.Sprintf(`{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicyBinding, metadata: {name: %[1]s}, spec: {policyName: %[1]s, validationActions: [Deny]}}`, w.namespace))
	w.admin(t, fmt.Sprintf(`{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: %[1]s}, webhooks: [{
		name: dead.example.com, admissionReviewVersions: [v1], sideEffects: None, failurePolicy: Fail, clientConfig: {url: "https://127.0.0.1:1/"},
		namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}},
		rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [secrets]}]}]}`, w.namespace))
	url, authority := refusingWebhook(t)
	w.admin(t, fmt.Sprintf(`{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: %[1]s-says-no}, webhooks: [{
		name: no.example.com, admissionReviewVersions: [v1], sideEffects: None, failurePolicy: Fail, clientConfig: {url: "%[2]s", caBundle: %[3]s},
		namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}},
		rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [services]}]}]}`, w.namespace, url, authority))
	for name, tc := range map[string]struct {
		desired string
		class   apply.Class
		says    string
	}{
		"Policy":      {"{apiVersion: v1, kind: ConfigMap, metadata: {name: a-%d}}", apply.Refused, "not on a Friday"},
		"Webhook":     {"{apiVersion: v1, kind: Service, metadata: {name: a-%d}, spec: {ports: [{port: 80}]}}", apply.Refused, "not without a label"},
		"DeadWebhook": {"{apiVersion: v1, kind: Secret, metadata: {name: a-%d}}", apply.Unavailable, `the admission webhook "dead.example.com"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var err error
			until := time.Now().Add(time.Minute)
			for i := 0; err == nil && time.Now().Before(until); i++ { // the API server learns of policies a moment later
				err = w.run(t, w.step(t, fmt.Sprintf(tc.desired, i)))[0].Err
				<-time.After(20 * time.Millisecond)
			}
			if apply.ClassOf(err) != tc.class || !strings.Contains(fmt.Sprint(err), tc.says) {
				t.Errorf("Run(...): %s: %v\nwant %s and %q", apply.ClassOf(err), err, tc.class, tc.says)
			}
		})
	}
}

// refusingWebhook serves an admission webhook that says no, and returns its
// address and the certificate to trust.
func refusingWebhook(t *testing.T) (url, authority string) {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var review map[string]any
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			t.Error(err)
		}
		uid, _, _ := unstructured.NestedString(review, "request", "uid")
		review["response"] = map[string]any{"uid": uid, "allowed": false, "status": map[string]any{"message": "not without a label"}}
		if err := json.NewEncoder(rw).Encode(review); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return server.URL, base64.StdEncoding.EncodeToString(block)
}
