package published_test

// set is what a project publishes for people to apply.
type set struct {
	reason string
	module module
	files  []string // patterns below the module
	hosts  []string // where its images are
	bump   change   // a new version of one image
	heal   []string // objects that are taken away, or changed, by hand: "Kind/namespace/name"
	prune  string   // a line that only one document has, which goes from Git
	gone   string   // that document's object
}

// change is an edit of one file: the only place of a text becomes another. The object then has a value that it had not.
type change struct{ file, from, to, object, value string }

// sets are published manifests of every sort that people put into Git.
var sets = map[string]set{
	"podinfo": {
		reason: "An application with a HorizontalPodAutoscaler that owns the number of replicas.",
		module: module{"github.com/stefanprodan/podinfo", "v1.8.1-0.20250910200901-e86405a8674e", "h1:ikpMMm5HbQT/1DehrPM+Lpwk3WAw/1Hg540eR+jsXus="},
		files:  []string{"kustomize/deployment.yaml", "kustomize/service.yaml", "kustomize/hpa.yaml"},
		hosts:  []string{"ghcr.io"},
		bump:   change{"kustomize-deployment.yaml", "ghcr.io/stefanprodan/podinfo:6.9.2", "ghcr.io/stefanprodan/podinfo:6.9.3", "Deployment/SELF/podinfo", "podinfo:6.9.3"},
		heal:   []string{"Service/SELF/podinfo", "Deployment/SELF/podinfo"},
		prune:  "kind: HorizontalPodAutoscaler",
		gone:   "HorizontalPodAutoscaler/SELF/podinfo",
	},
	"ingress-nginx": {
		reason: "An ingress controller: its own namespace, RBAC, Jobs that end, an admission webhook, images with tag and digest.",
		module: module{"k8s.io/ingress-nginx", "v0.0.0-20240708192948-52c50467d67d", "h1:tZui5g6S4GO1hxLm6yrEoIXLkl4QfeGytlmZqZ+DmdQ="},
		files:  []string{"deploy/static/provider/kind/deploy.yaml"},
		hosts:  []string{"registry.k8s.io"},
		bump: change{
			"deploy-static-provider-kind-deploy.yaml", "controller:v1.11.0@sha256:a886e56d532d1388c77c8340261149d974370edca1093af4c97a96fb1467cb39",
			"controller:v1.11.1@sha256:e6439a12b52076965928e83b7b56aae6731231677b01e81818bce7fa5c60161a",
			"Deployment/ingress-nginx/ingress-nginx-controller", "controller:v1.11.1@sha256:",
		},
		heal:  []string{"ClusterRole//ingress-nginx", "Deployment/ingress-nginx/ingress-nginx-controller", "ValidatingWebhookConfiguration//ingress-nginx-admission"},
		prune: "kind: IngressClass",
		gone:  "IngressClass//nginx",
	},
	"metallb": {
		reason: "An operator: definitions with conversion, a DaemonSet, webhooks whose service is part of the set.",
		module: module{"go.universe.tf/metallb", "v0.16.2", "h1:RCSAGoZmqcvTg0e56+Okbwz8iTuQVX30JpKX5mYEPUM="},
		files:  []string{"config/manifests/metallb-native.yaml"},
		hosts:  []string{"quay.io"},
		bump:   change{"config-manifests-metallb-native.yaml", "quay.io/metallb/controller:v0.16.2", "quay.io/metallb/controller:v0.16.3", "Deployment/metallb-system/controller", "controller:v0.16.3"},
		heal:   []string{"Role/metallb-system/pod-lister", "DaemonSet/metallb-system/speaker", "ClusterRoleBinding//metallb-system:speaker"},
		prune:  "  name: metallb-excludel2",
		gone:   "ConfigMap/metallb-system/metallb-excludel2",
	},
	"cert-manager": {
		reason: "An operator with definitions of 300 KB each, validating and mutating webhooks, and rights in kube-system.",
		module: module{"knative.dev/serving", "v0.51.0", "h1:yN2Q7eYqJgoPfZkATjoBZyGbZ2P1Qhns9HIMU4mF+to="},
		files:  []string{"third_party/cert-manager-latest/cert-manager.yaml"},
		hosts:  []string{"quay.io"},
		bump:   change{"third_party-cert-manager-latest-cert-manager.yaml", "cainjector:v1.18.0", "cainjector:v1.18.1", "Deployment/cert-manager/cert-manager-cainjector", "cainjector:v1.18.1"},
		heal:   []string{"Deployment/cert-manager/cert-manager-webhook", "Role/kube-system/cert-manager:leaderelection"},
		prune:  "  name: cert-manager-view",
		gone:   "ClusterRole//cert-manager-view",
	},
	"external-secrets": {
		reason: "Something large: 23 definitions in one file of 1.7 MB.",
		module: module{"github.com/external-secrets/external-secrets", "v1.3.2", "h1:u2J8RjlHIeF0oZCqtl92adI/uZWUwOesJIDkfql6LqQ="},
		files:  []string{"deploy/crds/bundle.yaml"},
		bump: change{
			"deploy-crds-bundle.yaml", "controller\n  name: clusterexternalsecrets.external-secrets.io", "other\n  name: clusterexternalsecrets.external-secrets.io",
			"CustomResourceDefinition//clusterexternalsecrets.external-secrets.io", `"external-secrets.io/component":"other"`,
		},
		heal:  []string{"CustomResourceDefinition//externalsecrets.external-secrets.io"},
		prune: "  name: fakes.generators.external-secrets.io",
		gone:  "CustomResourceDefinition//fakes.generators.external-secrets.io",
	},
}
