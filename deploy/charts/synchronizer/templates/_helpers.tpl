{{/* What must be chosen, said before anything is installed. */}}
{{- define "synchronizer.check" -}}
{{- if not .Values.cluster }}{{ fail "\n\ncluster is missing: set it to this cluster's name, as .tandem/clusters.yaml grants paths to it (--set cluster=prod-eu)" }}{{ end -}}
{{- if not .Values.automator.address }}{{ fail "\n\nautomator.address is missing: set it to host:port of the automator (--set automator.address=tandem.example.com:9443)" }}{{ end -}}
{{- if not (has .Values.trust.mode (list "signed" "relay")) }}{{ fail "\n\ntrust.mode is yours to choose, it has no default:\n  signed  every commit is verified in this cluster; needs at least one key of a person in trust.humans\n  relay   the automator is believed, and every Sync shows the condition Unverified\nFor example: --set trust.mode=signed --set trust.humans[0].name=ada --set-file trust.humans[0].keys[0]=ada.pub" }}{{ end -}}
{{- if and (eq .Values.trust.mode "signed") (not .Values.trust.humans) }}{{ fail "\n\ntrust.humans is empty: with trust.mode signed nobody could change anything; name at least one person and key (--set trust.humans[0].name=ada --set-file trust.humans[0].keys[0]=ada.pub)" }}{{ end -}}
{{- if not (or .Values.namespaces .Values.clusterWide) }}{{ fail "\n\nnamespaces is empty: list the namespaces that Syncs are in (--set namespaces={shop,blog}), or set clusterWide=true for all of them" }}{{ end -}}
{{- if and .Values.status.enabled (not .Values.status.tlsSecret) }}{{ fail "\n\nstatus.tlsSecret is missing: tokens must not travel in the clear; name a Secret with tls.crt and tls.key, or leave status.enabled false" }}{{ end -}}
{{- if not (or .Values.automator.tls.secretName .Values.enrollment.token .Values.enrollment.tokenSecret) }}{{ fail (printf "\n\nthis cluster has no way to show who it is: run `tandem cluster enroll %s` and put the token into a Secret (kubectl -n %s create secret generic tandem-join --from-literal=token=TOKEN; --set enrollment.tokenSecret=tandem-join), or name a Secret with a certificate in automator.tls.secretName" .Values.cluster .Release.Namespace) }}{{ end -}}
{{- if and .Values.enrollment.token .Values.enrollment.tokenSecret }}{{ fail "\n\nenrollment.token and enrollment.tokenSecret are both set: keep one" }}{{ end -}}
{{- if and .Values.state.persistent (include "synchronizer.takesTurns" .) }}{{ fail "\n\nstate.persistent is for a single replica: each of several has a volume of its own, so leave it false or set replicas=1" }}{{ end -}}
{{- if lt (int .Values.replicas) (int .Values.shards) }}{{ fail (printf "\n\nreplicas is %d and shards is %d: a replica works for one shard, so %d of the shards would be nobody's; set replicas to %d, or to %d to have one stand by" (int .Values.replicas) (int .Values.shards) (sub (int .Values.shards) (int .Values.replicas)) (int .Values.shards) (add1 (int .Values.shards))) }}{{ end -}}
{{- range .Values.syncs }}{{ if not (or $.Values.clusterWide (has .namespace $.Values.namespaces)) }}{{ fail (printf "\n\nsyncs: %s is in namespace %s, which is not in namespaces: nobody would look at it" .name .namespace) }}{{ end }}{{ end -}}
{{- end -}}

{{/* Whether several take turns. */}}
{{- define "synchronizer.takesTurns" -}}
{{- if gt (int .Values.replicas) 1 }}true{{ end -}}
{{- end -}}

{{- define "synchronizer.enrolls" -}}
{{- if not .Values.automator.tls.secretName }}true{{ end -}}
{{- end -}}

{{- define "synchronizer.tokenSecret" -}}
{{- default (printf "%s-join" (include "tandem.fullname" .)) .Values.enrollment.tokenSecret -}}
{{- end -}}

{{/* The agent's configuration file. The agent reads it strictly, so a key that is misspelt here stops it. */}}
{{- define "synchronizer.config" -}}
{{- $automator := dict "address" .Values.automator.address -}}
{{- with .Values.automator.serverName }}{{ $_ := set $automator "serverName" . }}{{ end -}}
{{- if .Values.automator.proxy.terminatesTLS -}}
{{- $proxy := dict "terminatesTLS" true -}}
{{- if .Values.automator.proxy.caSecret }}{{ $_ := set $proxy "caFile" "/etc/tandem/proxy/ca.crt" }}{{ end -}}
{{- $_ := set $automator "proxy" $proxy -}}
{{- end -}}
{{- $config := dict "cluster" .Values.cluster "automator" $automator -}}
{{- if include "synchronizer.enrolls" . -}}
{{- $secret := dict "namespace" .Release.Namespace "name" .Values.enrollment.identitySecret -}}
{{- $_ := set $config "enrollment" (dict "tokenFile" "/etc/tandem/join/token" "secret" $secret) -}}
{{- else -}}
{{- $_ := set $automator "tls" (dict "cert" "/etc/tandem/tls/tls.crt" "key" "/etc/tandem/tls/tls.key" "ca" "/etc/tandem/tls/ca.crt") -}}
{{- end -}}
{{- $_ := set $config "stateDir" "/var/lib/tandem/state" -}}
{{- $_ := set $config "log" .Values.log -}}
{{- $_ := set $config "admin" (printf ":%v" .Values.admin.port) -}}
{{- with .Values.debug.port }}{{ $_ := set $config "debug" (printf "127.0.0.1:%v" .) }}{{ end -}}
{{- if .Values.status.enabled -}}
{{- $_ := set $config "status" (dict "listen" (printf ":%v" .Values.status.port) "tls" (dict "cert" "/etc/tandem/status/tls.crt" "key" "/etc/tandem/status/tls.key")) -}}
{{- end -}}
{{- if not .Values.clusterWide }}{{ $_ := set $config "namespaces" .Values.namespaces }}{{ end -}}
{{- $_ := set $config "lease" (dict "namespace" .Release.Namespace "name" (include "tandem.fullname" .) "duration" .Values.lease.duration "shards" (int .Values.shards)) -}}
{{- $_ := set $config "workers" .Values.workers -}}
{{- $_ := set $config "trust" .Values.trust -}}
{{- with .Values.images.signed }}{{ $_ := set $config "images" (dict "signed" . "keys" $.Values.images.keys "trustedRoot" $.Values.images.trustedRoot) }}{{ end -}}
{{- with .Values.health.rules }}{{ $_ := set $config "health" (dict "rules" .) }}{{ end -}}
{{- $_ := set $config "queries" .Values.queries -}}
{{- with .Values.paths }}{{ $_ := set $config "paths" . }}{{ end -}}
{{- with .Values.dependencies }}{{ $_ := set $config "dependencies" . }}{{ end -}}
{{- $_ := set $config "quotas" (dict "objects" (int .Values.quotas.objects) "bytes" (int64 .Values.quotas.bytes)) -}}
{{- with .Values.quotas.namespaces }}{{ $_ := set $config.quotas "namespaces" . }}{{ end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* The rights of the synchronizer where Syncs are. */}}
{{- define "synchronizer.rules" -}}
- apiGroups: [tandem.dev]
  resources: [syncs]
  verbs: [get, list, watch, patch] # patch: the finalizer of deletionPolicy delete
- apiGroups: [tandem.dev]
  resources: [syncs/status]
  verbs: [patch]
# The inventory.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, create, patch, delete]
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
# Which images run.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
{{- if or .Values.status.enabled .Values.queries }}
# What people ask for: what Syncs' objects own in turn.
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [list]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [list]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list]
{{- end }}
{{- if or .Values.status.enabled (has "events" .Values.queries) }}
- apiGroups: [""]
  resources: [events]
  verbs: [list]
{{- end }}
# What Syncs hold: managed objects are watched. Writing them is not ours.
{{- range .Values.kinds }}
- apiGroups: {{ toJson .apiGroups }}
  resources: {{ toJson .resources }}
  verbs: [get, list, watch]
{{- end }}
# Every write to a Sync's objects is made as one of these accounts.
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [impersonate]
  resourceNames: {{ include "synchronizer.accounts" . }}
{{- end -}}

{{- define "synchronizer.accounts" -}}
{{- $names := prepend .Values.account.others .Values.account.name -}}
{{- range .Values.syncs }}{{ with .spec.serviceAccountName }}{{ $names = append $names . }}{{ end }}{{ end -}}
{{- $names | uniq | toJson -}}
{{- end -}}

{{- define "synchronizer.subject" -}}
subjects:
  - kind: ServiceAccount
    name: {{ include "tandem.serviceAccount" . }}
    namespace: {{ .Release.Namespace }}
{{- end -}}
