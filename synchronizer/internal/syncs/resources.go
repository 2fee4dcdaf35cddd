package syncs

import "k8s.io/apimachinery/pkg/runtime/schema"

// eventsResource is where Kubernetes Events live.
var eventsResource = schema.GroupVersionResource{Version: "v1", Resource: "events"} //nolint:gochecknoglobals // a constant
