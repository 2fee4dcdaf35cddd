package chaos

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	registrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/tandem-cd/tandem/integration/env/kubecluster"
)

// admissionSeconds is how long the API server waits for our answer before it goes on without.
const admissionSeconds = 30

// removeTimeout is how long an API server whose etcd may be away is asked to remove the webhook.
const removeTimeout = time.Second

// admit has the API server ask us before it takes a change of the Deployment, as it asks admission webhooks: when does
// what is to be done, and the change is allowed when it returns. The webhook is there until remove.
func (s *Scene) admit(ctx context.Context, when func(context.Context)) (remove func(), err error) {
	probed := make(chan struct{}, 1)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if dry := review.Request.DryRun; dry != nil && *dry {
			select {
			case probed <- struct{}{}:
			default:
			}
		} else {
			when(r.Context())
		}
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
		review.Request = nil
		_ = json.NewEncoder(w).Encode(review) // an API server that was killed has no use for it
	}))
	hooks := s.World.Client.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	ignore, none := registrationv1.Ignore, registrationv1.SideEffectClassNone
	seconds := int32(admissionSeconds)
	hook := registrationv1.ValidatingWebhook{
		Name: "hold.chaos.tandem.dev", FailurePolicy: &ignore, SideEffects: &none, TimeoutSeconds: &seconds, AdmissionReviewVersions: []string{"v1"},
		ClientConfig: registrationv1.WebhookClientConfig{
			URL: &server.URL, CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
		},
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{namespaceLabel: s.Site.Namespace}},
		MatchConditions: []registrationv1.MatchCondition{{
			Name: "the-synchronizer", Expression: "request.userInfo.username == '" + s.account() + "'",
		}},
		Rules: []registrationv1.RuleWithOperations{{
			Operations: []registrationv1.OperationType{registrationv1.Create, registrationv1.Update},
			Rule:       registrationv1.Rule{APIGroups: []string{"apps"}, APIVersions: []string{"v1"}, Resources: []string{"deployments"}},
		}},
	}
	config := &registrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: s.Site.Namespace}, Webhooks: []registrationv1.ValidatingWebhook{hook},
	}
	// The one before may be there still: an API server that was killed could not be asked to remove it.
	if err := hooks.Delete(ctx, config.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		server.Close()
		return nil, err
	}
	if _, err := hooks.Create(ctx, config, metav1.CreateOptions{}); err != nil {
		server.Close()
		return nil, err
	}
	remove = func() {
		ctx, cancel := context.WithTimeout(ctx, removeTimeout)
		defer cancel()
		_ = hooks.Delete(ctx, config.Name, metav1.DeleteOptions{}) // one that stays is away, and ignored
		server.Close()
	}
	if err := s.probe(ctx, probed); err != nil {
		remove()
		return nil, err
	}
	return remove, nil
}

// probe changes the Deployment without effect until the webhook is asked: the API server learns of it by a watch.
func (s *Scene) probe(ctx context.Context, probed <-chan struct{}) error {
	config, err := s.World.Kube.RESTConfig(kubecluster.Admin)
	if err != nil {
		return err
	}
	config.Impersonate = rest.ImpersonationConfig{UserName: s.account()}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	return s.Until(ctx, "the API server asks the webhook", func(ctx context.Context) (bool, error) {
		_, err := client.AppsV1().Deployments(s.Site.Namespace).Patch(ctx, sampleDeployment, types.MergePatchType,
			[]byte(`{"metadata":{"annotations":{"probe":""}}}`), metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
		select {
		case <-probed:
			return true, nil
		default:
			return false, err
		}
	})
}

// account is who the objects of Syncs are written as.
func (s *Scene) account() string { return "system:serviceaccount:" + s.Site.Namespace + ":tandem" }

func (s *Scene) deployment(ctx context.Context) (*appsv1.Deployment, error) {
	return s.World.Client.AppsV1().Deployments(s.Site.Namespace).Get(ctx, sampleDeployment, metav1.GetOptions{})
}
