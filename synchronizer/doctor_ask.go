package synchronizer

import (
	"context"
	"crypto/x509"
	"fmt"

	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/tandem-cd/tandem/shared/rpc"
)

// allowed asks the API server whether whoever asks may do something. Everybody who is authenticated may ask that.
func allowed(ctx context.Context, client dynamic.Interface, a right, verb string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	reviews := schema.GroupVersionResource{Group: "authorization.k8s.io", Version: "v1", Resource: "selfsubjectaccessreviews"}
	review := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": reviews.GroupVersion().String(), "kind": "SelfSubjectAccessReview", "metadata": map[string]any{},
		"spec": map[string]any{"resourceAttributes": map[string]any{
			"group": a.group, "resource": a.resource, "subresource": a.sub, "name": a.name, "namespace": a.namespace, "verb": verb,
		}},
	}}
	answer, err := client.Resource(reviews).Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	yes, _, err := unstructured.NestedBool(answer.Object, "status", "allowed")
	return yes, err
}

// connection prepares the way to the automator as the synchronizer does, and reads its identity.
func (v *visit) connection(ctx context.Context) (*Synchronizer, error) {
	s := &Synchronizer{cfg: v.cfg, log: zap.NewNop()}
	if v.rest == nil && v.cfg.Enrollment.Secret != (SecretName{}) {
		return nil, fmt.Errorf("the identity in Secret %s/%s cannot be read without the API server", v.cfg.Enrollment.Secret.Namespace, v.cfg.Enrollment.Secret.Name)
	}
	if err := s.openIdentity(v.rest); err != nil {
		return nil, err
	}
	if s.keeper == nil {
		return s, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return s, s.keeper.Read(ctx)
}

// identity judges the certificates, and returns the authorities that the automator's should descend from.
func (v *visit) identity(s *Synchronizer) []*x509.Certificate {
	const check, next = "identity", "the synchronizer renews it by itself; its log says why it does not"
	if s == nil {
		return nil
	}
	if s.keeper == nil {
		own, err := rpc.ReadCertificates(v.cfg.Automator.TLS.Cert)
		if err != nil {
			v.report.Fail(check, "put a certificate there", "automator.tls.cert: %v", err)
			return nil
		}
		authorities, err := rpc.ReadCertificates(v.cfg.Automator.TLS.CA)
		if err != nil {
			v.report.Fail(check, "put the automator's CA there", "automator.tls.ca: %v", err)
		}
		v.certificates(own[0], authorities, "replace the file")
		return authorities
	}
	own, authorities := s.keeper.Certificates()
	if own == nil {
		v.report.Fail(check, fmt.Sprintf("put what `tandem cluster enroll %s` prints into enrollment.tokenFile", v.cfg.Cluster), "cluster %q is not enrolled", v.cfg.Cluster)
		return nil
	}
	v.certificates(own, authorities, next)
	return authorities
}

func (v *visit) certificates(own *x509.Certificate, authorities []*x509.Certificate, next string) {
	const check = "identity"
	switch id, err := rpc.IdentityOf(own); {
	case err != nil:
		v.report.Fail(check, next, "%v", err)
	case id.Role != rpc.RoleCluster || id.Name != v.cfg.Cluster:
		v.report.Fail(check, "make cluster in the configuration and the certificate the same", "the certificate is for %s, and the configuration calls this cluster %q", id, v.cfg.Cluster)
	default:
		v.report.Ok(check, "this is %s", id)
	}
	v.report.Expiry("this cluster's certificate", own.NotBefore, own.NotAfter, next)
	for _, authority := range authorities {
		v.report.Expiry("the authority "+authority.Subject.CommonName, authority.NotBefore, authority.NotAfter, "tandem ca rotate")
	}
}
