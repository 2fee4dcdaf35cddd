package synchronizer

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/tandem-cd/tandem/shared/doctor"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/rpc"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
)

// callTimeout bounds one question of the doctor's.
const callTimeout = 15 * time.Second

// Doctor looks at everything that the synchronizer of a configuration stands on, and changes nothing. It may run beside it.
func Doctor(ctx context.Context, cfg Config, report *doctor.Report) {
	visit := &visit{cfg: cfg, report: report}
	visit.folder()
	visit.cluster(ctx)
	visit.automator(ctx)
}

// visit is one visit of the doctor.
type visit struct {
	cfg    Config
	report *doctor.Report
	rest   *rest.Config // nil when the API server does not answer
}

// folder checks that state can be kept.
func (v *visit) folder() {
	const check = "state"
	if err := os.MkdirAll(v.cfg.StateDir, 0o700); err != nil {
		v.report.Fail(check, "mount a volume that this user may write", "the folder cannot be made: %v", err)
		return
	}
	file, err := os.CreateTemp(v.cfg.StateDir, "doctor-*")
	if err == nil {
		_, err = file.WriteString("a visit")
		_ = file.Close()
		_ = os.Remove(file.Name()) // it is empty and harmless
	}
	if err != nil {
		v.report.Fail(check, "free space, or mount a volume that this user may write", "%s cannot be written: %v", v.cfg.StateDir, err)
		return
	}
	v.report.Ok(check, "%s can be written", filepath.Clean(v.cfg.StateDir))
}

// cluster checks the API server, the definition of Syncs, and the rights.
func (v *visit) cluster(ctx context.Context) {
	const check = "API server"
	config, err := connect(v.cfg.Kubeconfig)
	if err != nil {
		v.report.Fail(check, "run it in a Pod with a service account, or name a kubeconfig", "%v", err)
		return
	}
	config.Timeout = callTimeout
	heard := &heard{}
	asking := rest.CopyConfig(config)
	asking.Wrap(heard.wrap)
	discoverer, err := discovery.NewDiscoveryClientForConfig(asking)
	if err != nil {
		v.report.Fail(check, "correct the kubeconfig", "%v", err)
		return
	}
	before := time.Now()
	version, err := discoverer.ServerVersion()
	if err != nil {
		v.report.Fail(check, "check network policies (networkPolicy.apiServer), the address and the credentials", "%s does not answer: %v", config.Host, err)
		return
	}
	v.report.Ok(check, "%s answers, Kubernetes %s", config.Host, version.GitVersion)
	if !heard.date.IsZero() {
		v.report.Clock("the API server's clock", heard.date, before, time.Now())
	}
	if heard.ends.After(heard.begins) {
		v.report.Expiry("the API server's certificate", heard.begins, heard.ends, "renew it as your distribution says")
	}
	v.rest = config
	v.definition(ctx, discoverer)
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		v.report.Fail(check, "correct the kubeconfig", "%v", err)
		return
	}
	v.namespaces(ctx, client, live.NewMapper(discoverer))
	v.leases(ctx, client)
}

// heard is what the last answer said besides.
type heard struct {
	mu                 sync.Mutex
	date, begins, ends time.Time
}

func (h *heard) wrap(inner http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		resp, err := inner.RoundTrip(req)
		if err != nil {
			return resp, err
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.date, _ = http.ParseTime(resp.Header.Get("Date"))
		if resp.TLS != nil && len(resp.TLS.PeerCertificates) > 0 {
			h.begins, h.ends = resp.TLS.PeerCertificates[0].NotBefore, resp.TLS.PeerCertificates[0].NotAfter
		}
		return resp, nil
	})
}

// definition checks that the kind Sync is served, with the fields that this program knows.
func (v *visit) definition(ctx context.Context, discoverer *discovery.DiscoveryClient) {
	const check = "definition"
	const next = "kubectl apply --server-side -f deploy/crds/syncs.tandem.dev.yaml of this version, or helm upgrade with crds.install"
	raw, err := discoverer.RESTClient().Get().AbsPath("/openapi/v3/apis/" + v1alpha1.GroupVersion.String()).Do(ctx).Raw()
	if err != nil {
		v.report.Fail(check, next, "%s is not served: %v", v1alpha1.GroupVersion, err)
		return
	}
	missing, more, err := v1alpha1.CompareSchema(raw)
	switch {
	case err != nil:
		v.report.Warn(check, next, "the definition of Syncs cannot be read: %v", err)
	case len(missing) > 0:
		v.report.Fail(check, next, "the definition of Syncs is older than this program: it lacks %s", strings.Join(missing, ", "))
	case len(more) > 0:
		v.report.Warn(check, "upgrade the synchronizer", "the definition of Syncs is newer than this program: it also has %s", strings.Join(more, ", "))
	default:
		v.report.Ok(check, "%s is served as this program knows it", v1alpha1.GroupVersion)
	}
}

// automator checks who this cluster is, and the way to the automator.
func (v *visit) automator(ctx context.Context) {
	const check = "identity"
	s, err := v.connection(ctx)
	if err != nil {
		v.report.Fail(check, "see `tandem cluster enroll --help`", "%v", err)
	}
	to := v.cfg.Automator
	trusted := v.identity(s)
	proxied := to.Proxy.TerminatesTLS
	if !v.report.Path(ctx, to.Address, serverName(to), trusted, proxied) || s == nil {
		return
	}
	defer func() { _ = s.link.Close() }() // nothing runs on it any more
	conn, err := s.link.Conn()
	if err != nil {
		v.report.Fail("automator", "correct automator in the configuration", "%v", err)
		return
	}
	v.call(ctx, conn)
}

// call asks the automator something that it answers everybody whom it knows.
func (v *visit) call(ctx context.Context, conn *grpc.ClientConn) {
	const check = "automator"
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var header metadata.MD
	before := time.Now()
	_, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{}, grpc.Header(&header))
	after := time.Now()
	switch {
	case fault.Is(err, fault.Unauthorized):
		v.report.Fail(check, "`tandem cluster list` shows how this cluster stands; `tandem cluster enroll NAME` lets it in again", "it does not let this cluster in: %v", err)
	case err != nil:
		v.report.Fail(check, "look into the automator's log", "it does not answer calls: %v", err)
	default:
		v.report.Ok(check, "%s lets this cluster in", v.cfg.Automator.Address)
	}
	facts := rpc.FactsOf(header)
	if facts.Version != "" {
		v.report.Versions("this cluster", Version, facts.Version)
	}
	if !facts.Time.IsZero() {
		v.report.Clock("the automator's clock", facts.Time, before, after)
	}
}

func serverName(to AutomatorConfig) string {
	if to.ServerName != "" {
		return to.ServerName
	}
	host, _, err := net.SplitHostPort(to.Address)
	if err != nil {
		return to.Address
	}
	return host
}

// namespaces checks where Syncs are watched, and what may be done there.
func (v *visit) namespaces(ctx context.Context, client dynamic.Interface, mapper *live.Mapper) {
	const check = "namespace"
	all := v.cfg.Namespaces
	if len(all) == 0 {
		all = []string{metav1.NamespaceAll}
	}
	for _, namespace := range all {
		where := "namespace " + namespace
		if namespace == metav1.NamespaceAll {
			where = "all namespaces"
		}
		list, err := client.Resource(v1alpha1.GroupVersionResource).Namespace(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			v.report.Fail(check, "create it, and list it under namespaces in the chart's values", "Syncs of %s cannot be listed: %v", where, err)
			continue
		}
		v.report.Ok(check, "%s has %d Syncs", where, len(list.Items))
		v.own(ctx, namespace, where)
		for i := range list.Items {
			if found, err := v1alpha1.FromUnstructured(&list.Items[i]); err == nil {
				v.account(ctx, mapper, found)
			}
		}
	}
}

// own checks what the synchronizer may do itself.
func (v *visit) own(ctx context.Context, namespace, where string) {
	v.may(ctx, v.rest, "the synchronizer in "+where, "list the namespace under namespaces in the chart's values (or apply deploy/rbac/namespace.yaml)", []right{
		{group: v1alpha1.Group, resource: v1alpha1.Resource, verbs: []string{"get", "list", "watch", "patch"}, namespace: namespace},
		{group: v1alpha1.Group, resource: v1alpha1.Resource, sub: "status", verbs: []string{"patch"}, namespace: namespace},
		{resource: "configmaps", verbs: []string{"get", "create", "patch", "delete"}, namespace: namespace},
		{resource: "events", verbs: []string{"create", "patch"}, namespace: namespace},
		{resource: "pods", verbs: []string{"get", "list", "watch"}, namespace: namespace},
	})
}

// account checks what a Sync's account may do with the kinds that the Sync holds, by asking as that account.
func (v *visit) account(ctx context.Context, mapper *live.Mapper, s *v1alpha1.Sync) {
	name := s.Spec.ServiceAccount()
	subject := fmt.Sprintf("Sync %s/%s as account %s", s.Namespace, s.Name, name)
	impersonates := right{resource: "serviceaccounts", name: name, verbs: []string{"impersonate"}, namespace: s.Namespace}
	if !v.may(ctx, v.rest, "the synchronizer, to act as account "+s.Namespace+"/"+name, "name the account under account in the chart's values", []right{impersonates}) {
		return
	}
	as := rest.CopyConfig(v.rest)
	as.Impersonate.UserName = "system:serviceaccount:" + s.Namespace + ":" + name
	var needs, watches []right
	for _, kind := range s.Status.Kinds {
		resource, namespaced, err := mapper.Resource(ctx, schema.GroupVersionKind{Group: kind.Group, Version: kind.Version, Kind: kind.Kind})
		if err != nil {
			v.report.Warn("rights", "install the definition of that kind", "%s: %v", subject, err)
			continue
		}
		need := right{group: resource.Group, resource: resource.Resource}
		if namespaced {
			need.namespace = s.Namespace
		}
		watch := need
		need.verbs, watch.verbs = []string{"get", "create", "patch"}, []string{"get", "list", "watch"}
		if !s.Spec.Observes() {
			need.verbs = append(need.verbs, "delete")
		}
		needs, watches = append(needs, need), append(watches, watch)
	}
	v.may(ctx, as, subject, "add the kind under kinds in the chart's values, or a rule to the account's Role", needs)
	v.may(ctx, v.rest, "the synchronizer, to watch what Sync "+s.Namespace+"/"+s.Name+" holds", "add the kind under kinds in the chart's values", watches)
}

// right is what is asked to be allowed.
type right struct {
	group, resource, sub, name, namespace string
	verbs                                 []string
}

func (a right) String() string {
	text := a.resource
	if a.group != "" {
		text += "." + a.group
	}
	if a.sub != "" {
		text += "/" + a.sub
	}
	return text
}

// may reports, and notes, whether somebody may do everything that is asked for.
func (v *visit) may(ctx context.Context, as *rest.Config, subject, next string, all []right) bool {
	const check = "rights"
	client, err := dynamic.NewForConfig(as)
	if err != nil {
		v.report.Warn(check, next, "%s: %v", subject, err)
		return false
	}
	var denied []string
	for _, a := range all {
		var verbs []string
		for _, verb := range a.verbs {
			allowed, err := allowed(ctx, client, a, verb)
			if err != nil {
				v.report.Warn(check, next, "%s: cannot ask: %v", subject, err)
				return false
			}
			if !allowed {
				verbs = append(verbs, verb)
			}
		}
		if len(verbs) > 0 {
			denied = append(denied, strings.Join(verbs, ", ")+" "+a.String())
		}
	}
	if slices.Sort(denied); len(denied) > 0 {
		v.report.Fail(check, next, "%s may not: %s", subject, strings.Join(denied, "; "))
		return false
	}
	v.report.Ok(check, "%s may do what it needs to", subject)
	return true
}
