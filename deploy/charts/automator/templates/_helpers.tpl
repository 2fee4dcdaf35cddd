{{/* What must be chosen, said before anything is installed. */}}
{{- define "automator.check" -}}
{{- if and .Values.authority.secretName .Values.tls.secretName }}{{ fail "\n\nauthority.secretName and tls.secretName are both set: keep authority for clusters that enroll, or tls when you issue every certificate yourself" }}{{ end -}}
{{- if not (or .Values.authority.secretName .Values.tls.secretName) }}{{ fail (printf "\n\nauthority.secretName is missing: it names a Secret with the CA that identifies clusters and people (tandem ca create --out tandem-ca; kubectl -n %s create secret tls tandem-authority --cert tandem-ca/ca.crt --key tandem-ca/ca.key), or set tls.secretName to issue every certificate yourself" .Release.Namespace) }}{{ end -}}
{{- if and .Values.proxy.port (not (and .Values.proxy.names .Values.networkPolicy.proxyFrom)) }}{{ fail "\n\nproxy.port is open without TLS: name the hosts by which the proxy is called in proxy.names, and the proxy itself in networkPolicy.proxyFrom" }}{{ end -}}
{{- if and .Values.tls.secretName (or .Values.proxy.names .Values.proxy.port) }}{{ fail "\n\nproxy needs authority.secretName: passes are signed by keys whose certificates the authority issued" }}{{ end -}}
{{- if not .Values.signing.email }}{{ fail "\n\nsigning.email is missing: it stands in every commit (--set signing.email=tandem@example.com)" }}{{ end -}}
{{- if and (not .Values.signing.secretName) (include "automator.pushes" .) }}{{ fail (printf "\n\nsigning.secretName is missing: it names a Secret with the key that signs commits (ssh-keygen -t ed25519 -N '' -f tandem; kubectl -n %s create secret generic tandem-signing --from-file=ssh-privatekey=tandem)" .Release.Namespace) }}{{ end -}}
{{- if not .Values.repositories }}{{ fail "\n\nrepositories is empty: name at least one Git repository (--set repositories[0].name=deploy --set repositories[0].url=ssh://git@github.com/acme/deploy.git)" }}{{ end -}}
{{- if and .Values.webhook.enabled (not (or .Values.webhook.tokenSecret .Values.webhook.callers)) }}{{ fail (printf "\n\nwebhook.tokenSecret is missing: it names a Secret with the token that registries and Git hosts must show (kubectl -n %s create secret generic tandem-webhook --from-literal=token=$(openssl rand -hex 20)), or set webhook.enabled=false" .Release.Namespace) }}{{ end -}}
{{- with .Values.vault -}}
{{- $ways := without (list .auth.kubernetes.role .auth.jwt.role .auth.appRole.roleID .auth.token.secretName) "" -}}
{{- if and .address (ne (len $ways) 1) }}{{ fail "\n\nvault.auth needs exactly one of kubernetes.role, jwt.role, appRole.roleID and token.secretName: how Vault knows the automator" }}{{ end -}}
{{- if and $ways (not .address) }}{{ fail "\n\nvault.address is missing, such as https://vault.vault.svc:8200" }}{{ end -}}
{{- if and .auth.appRole.roleID (not .auth.appRole.secretIDSecret) }}{{ fail "\n\nvault.auth.appRole.secretIDSecret is missing: it names a Secret with secret-id" }}{{ end -}}
{{- end -}}
{{- if and (not .Values.webhook.enabled) (or .Values.webhook.ingress.enabled .Values.webhook.httpRoute.enabled) }}{{ fail "\n\nwebhook.enabled is false, but it has an ingress or a route: enable it, or disable these" }}{{ end -}}
{{- end -}}

{{/* The agent's configuration file. The agent reads it strictly, so a key that is misspelt here stops it. */}}
{{- define "automator.config" -}}
{{- $config := dict "listen" ":9443" "stateDir" "/var/lib/tandem/state" "log" .Values.log "admin" (printf ":%v" .Values.admin.port) "scanInterval" .Values.scanInterval -}}
{{- with .Values.traces.endpoint }}{{ $_ := set $config "traces" (dict "endpoint" .) }}{{ end -}}
{{- with .Values.debug.port }}{{ $_ := set $config "debug" (printf "127.0.0.1:%v" .) }}{{ end -}}
{{- if .Values.authority.secretName -}}
{{- $name := include "tandem.fullname" . -}}
{{- $own := list $name (printf "%s.%s" $name .Release.Namespace) (printf "%s.%s.svc" $name .Release.Namespace) -}}
{{- $_ := set $config "authority" (dict "certFile" "/etc/tandem/authority/tls.crt" "keyFile" "/etc/tandem/authority/tls.key" "serverNames" (concat $own .Values.authority.serverNames | uniq)) -}}
{{- else -}}
{{- $_ := set $config "tls" (dict "cert" "/etc/tandem/tls/tls.crt" "key" "/etc/tandem/tls/tls.key" "ca" "/etc/tandem/tls/ca.crt") -}}
{{- end -}}
{{- with .Values.admins }}{{ $_ := set $config "admins" . }}{{ end -}}
{{- if or .Values.proxy.names .Values.proxy.port -}}
{{- $proxy := dict "names" .Values.proxy.names -}}
{{- if .Values.proxy.port }}{{ $_ := set $proxy "listen" (printf ":%v" .Values.proxy.port) }}{{ end -}}
{{- $_ := set $config "proxy" $proxy -}}
{{- end -}}
{{- if .Values.webhook.enabled -}}
{{- $webhook := dict "listen" (printf ":%v" .Values.webhook.port) -}}
{{- if .Values.webhook.tokenSecret }}{{ $_ := set $webhook "tokenFile" "/etc/tandem/webhook/token" }}{{ end -}}
{{- $callers := list -}}
{{- range $i, $from := .Values.webhook.callers -}}
{{- $caller := omit $from "tokenSecrets" -}}
{{- $files := list -}}
{{- range $j, $_ := $from.tokenSecrets }}{{ $files = append $files (printf "/etc/tandem/webhook-caller/%d/%d/token" $i $j) }}{{ end -}}
{{- if $files }}{{ $_ := set $caller "tokenFiles" $files }}{{ end -}}
{{- $callers = append $callers $caller -}}
{{- end -}}
{{- if $callers }}{{ $_ := set $webhook "callers" $callers }}{{ end -}}
{{- with .Values.webhook.hosts }}{{ $_ := set $webhook "hosts" . }}{{ end -}}
{{- $_ := set $config "webhook" $webhook -}}
{{- end -}}
{{- $signing := dict "name" .Values.signing.name "email" .Values.signing.email -}}
{{- if .Values.signing.secretName -}}
{{- if eq .Values.signing.format "openpgp" }}{{ $_ := set $signing "gpgKeyFile" "/etc/tandem/signing/gpg-privatekey" }}{{ else }}{{ $_ := set $signing "sshKeyFile" "/etc/tandem/signing/ssh-privatekey" }}{{ end -}}
{{- end -}}
{{- $_ := set $config "signing" $signing -}}
{{- $repositories := list -}}
{{- range $i, $from := .Values.repositories -}}
{{- $repository := omit $from "auth" "caSecret" "clientCertSecret" -}}
{{- $auth := dict -}}
{{- with $from.auth -}}
{{- if .sshSecret -}}
{{- $_ := set $auth "sshKeyFile" (printf "/etc/tandem/git/%d/ssh-privatekey" $i) -}}
{{- $_ := set $auth "knownHostsFile" (printf "/etc/tandem/git/%d/known_hosts" $i) -}}
{{- end -}}
{{- if .username }}{{ $_ := set $auth "username" .username }}{{ end -}}
{{- if .passwordSecret }}{{ $_ := set $auth "passwordFile" (printf "/etc/tandem/git/%d/password" $i) }}{{ end -}}
{{- if .vault }}{{ $_ := set $auth "vault" .vault }}{{ end -}}
{{- with .githubApp -}}
{{- $app := omit . "keySecret" -}}
{{- $_ := set $app "keyFile" (printf "/etc/tandem/git/%d/private-key.pem" $i) -}}
{{- $_ := set $auth "githubApp" $app -}}
{{- end -}}
{{- end -}}
{{- if $auth }}{{ $_ := set $repository "auth" $auth }}{{ end -}}
{{- if $from.caSecret }}{{ $_ := set $repository "caFile" (printf "/etc/tandem/git/%d/ca.crt" $i) }}{{ end -}}
{{- if $from.clientCertSecret -}}
{{- $_ := set $repository "clientCertFile" (printf "/etc/tandem/git/%d/tls.crt" $i) -}}
{{- $_ := set $repository "clientKeyFile" (printf "/etc/tandem/git/%d/tls.key" $i) -}}
{{- end -}}
{{- $repositories = append $repositories $repository -}}
{{- end -}}
{{- $_ := set $config "repositories" $repositories -}}
{{- $registries := dict -}}
{{- if .Values.registries.dockerConfigSecret }}{{ $_ := set $registries "dockerConfigFile" "/etc/tandem/registries/.dockerconfigjson" }}{{ end -}}
{{- $hosts := dict -}}
{{- range $host, $from := .Values.registries.hosts -}}
{{- $to := omit $from "caSecret" "passwordSecret" "clientCertSecret" -}}
{{- if $from.caSecret }}{{ $_ := set $to "caFile" (printf "/etc/tandem/registry/%s/ca.crt" (include "automator.hostFolder" $host)) }}{{ end -}}
{{- if $from.passwordSecret }}{{ $_ := set $to "passwordFile" (printf "/etc/tandem/registry/%s/password" (include "automator.hostFolder" $host)) }}{{ end -}}
{{- if $from.clientCertSecret -}}
{{- $_ := set $to "clientCertFile" (printf "/etc/tandem/registry/%s/tls.crt" (include "automator.hostFolder" $host)) -}}
{{- $_ := set $to "clientKeyFile" (printf "/etc/tandem/registry/%s/tls.key" (include "automator.hostFolder" $host)) -}}
{{- end -}}
{{- $_ := set $hosts $host $to -}}
{{- end -}}
{{- if $hosts }}{{ $_ := set $registries "hosts" $hosts }}{{ end -}}
{{- if $registries }}{{ $_ := set $config "registries" $registries }}{{ end -}}
{{- if .Values.vault.address }}{{ $_ := set $config "vault" (include "automator.vault" .Values.vault | fromYaml) }}{{ end -}}
{{- $verification := dict -}}
{{- $keys := dict -}}
{{- range $name, $from := .Values.verification.keys }}{{ $_ := set $keys $name (printf "/etc/tandem/key/%s/%s" $name (default "cosign.pub" $from.key)) }}{{ end -}}
{{- if $keys }}{{ $_ := set $verification "keys" $keys }}{{ end -}}
{{- if .Values.verification.trustedRootSecret }}{{ $_ := set $verification "trustedRootFile" "/etc/tandem/trusted-root/trusted_root.json" }}{{ end -}}
{{- if $verification }}{{ $_ := set $config "verification" $verification }}{{ end -}}
{{- $retention := omit .Values.store.retention "eventCount" -}}
{{- $_ := set $retention "eventCount" (int64 .Values.store.retention.eventCount) -}}
{{- $store := dict "retention" $retention -}}
{{- if .Values.store.postgres.hosts }}{{ $_ := set $store "postgres" (include "automator.postgres" .Values.store.postgres | fromYaml) }}{{ end -}}
{{- $_ := set $config "store" $store -}}
{{- toYaml $config -}}
{{- end -}}

{{/* How to reach Vault. */}}
{{- define "automator.vault" -}}
{{- $vault := dict "address" .address -}}
{{- if .insecure }}{{ $_ := set $vault "insecure" true }}{{ end -}}
{{- if .namespace }}{{ $_ := set $vault "namespace" .namespace }}{{ end -}}
{{- if .redirectHosts }}{{ $_ := set $vault "redirectHosts" .redirectHosts }}{{ end -}}
{{- if .caSecret }}{{ $_ := set $vault "caFile" "/etc/tandem/vault/ca.crt" }}{{ end -}}
{{- if .clientCertSecret }}{{ $_ := set $vault "clientCertFile" "/etc/tandem/vault/tls.crt" }}{{ $_ := set $vault "clientKeyFile" "/etc/tandem/vault/tls.key" }}{{ end -}}
{{- $auth := dict -}}
{{- with .auth -}}
{{- if .kubernetes.role }}{{ $_ := set $auth "kubernetes" (dict "mount" .kubernetes.mount "role" .kubernetes.role "tokenFile" "/etc/tandem/vault-account/token") }}{{ end -}}
{{- if .jwt.role }}{{ $_ := set $auth "jwt" (dict "mount" .jwt.mount "role" .jwt.role "tokenFile" "/etc/tandem/vault-account/token") }}{{ end -}}
{{- if .appRole.roleID }}{{ $_ := set $auth "appRole" (dict "mount" .appRole.mount "roleID" .appRole.roleID "secretIDFile" "/etc/tandem/vault/secret-id") }}{{ end -}}
{{- if .token.secretName }}{{ $_ := set $auth "token" (dict "file" "/etc/tandem/vault/token") }}{{ end -}}
{{- end -}}
{{- $_ := set $vault "auth" $auth -}}
{{- toYaml $vault -}}
{{- end -}}

{{/* The audience of the token by which Vault knows the Pod's service account; empty where it knows us otherwise. */}}
{{- define "automator.vaultAudience" -}}
{{- if .address }}{{ if .auth.kubernetes.role }}{{ .auth.kubernetes.audience }}{{ else if .auth.jwt.role }}{{ .auth.jwt.audience }}{{ end }}{{ end -}}
{{- end -}}

{{/* How to reach the database of the store. */}}
{{- define "automator.postgres" -}}
{{- $postgres := omit . "passwordSecret" "tls" "schema" -}}
{{- if .passwordSecret }}{{ $_ := set $postgres "passwordFile" "/etc/tandem/postgres/password" }}{{ end -}}
{{- if .schema }}{{ $_ := set $postgres "schema" .schema }}{{ end -}}
{{- $tls := dict "mode" .tls.mode -}}
{{- if .tls.caSecret }}{{ $_ := set $tls "ca" "/etc/tandem/postgres/ca.crt" }}{{ end -}}
{{- if .tls.clientSecret }}{{ $_ := set $tls "cert" "/etc/tandem/postgres/tls.crt" }}{{ $_ := set $tls "key" "/etc/tandem/postgres/tls.key" }}{{ end -}}
{{- $_ := set $postgres "tls" $tls -}}
{{- toYaml $postgres -}}
{{- end -}}

{{/* A host as the name of a folder and of a volume. */}}
{{- define "automator.hostFolder" -}}
{{- . | sha256sum | trunc 10 -}}
{{- end -}}

{{/* Every Secret: volumes, then the same as mounts. A volume may join keys of several Secrets, hence projected; without
keys it has all of one. */}}
{{- define "automator.secrets" -}}
{{- $all := list -}}
{{- if .Values.authority.secretName -}}
{{- $all = append $all (dict "name" "authority" "path" "authority" "secrets" (list (dict "name" .Values.authority.secretName))) -}}
{{- else -}}
{{- $all = append $all (dict "name" "tls" "path" "tls" "secrets" (list (dict "name" .Values.tls.secretName))) -}}
{{- end -}}
{{- if .Values.signing.secretName }}{{ $all = append $all (dict "name" "signing" "path" "signing" "secrets" (list (dict "name" .Values.signing.secretName))) }}{{ end -}}
{{- if .Values.webhook.enabled -}}
{{- if .Values.webhook.tokenSecret }}{{ $all = append $all (dict "name" "webhook" "path" "webhook" "secrets" (list (dict "name" .Values.webhook.tokenSecret))) }}{{ end -}}
{{- range $i, $from := .Values.webhook.callers -}}
{{- range $j, $secret := $from.tokenSecrets }}{{ $all = append $all (dict "name" (printf "webhook-%d-%d" $i $j) "path" (printf "webhook-caller/%d/%d" $i $j) "secrets" (list (dict "name" $secret))) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- with .Values.store.postgres -}}
{{- $keys := list (dict "name" .passwordSecret "keys" (list "password")) (dict "name" .tls.caSecret "keys" (list "ca.crt")) (dict "name" .tls.clientSecret "keys" (list "tls.crt" "tls.key")) -}}
{{- $named := include "automator.named" $keys | fromJsonArray -}}
{{- if and .hosts $named }}{{ $all = append $all (dict "name" "postgres" "path" "postgres" "secrets" $named) }}{{ end -}}
{{- end -}}
{{- with .Values.vault -}}
{{- $keys := list (dict "name" .caSecret "keys" (list "ca.crt")) (dict "name" .clientCertSecret "keys" (list "tls.crt" "tls.key")) (dict "name" .auth.appRole.secretIDSecret "keys" (list "secret-id")) (dict "name" .auth.token.secretName "keys" (list "token")) -}}
{{- $named := include "automator.named" $keys | fromJsonArray -}}
{{- if and .address $named }}{{ $all = append $all (dict "name" "vault" "path" "vault" "secrets" $named) }}{{ end -}}
{{- end -}}
{{- if .Values.registries.dockerConfigSecret }}{{ $all = append $all (dict "name" "registries" "path" "registries" "secrets" (list (dict "name" .Values.registries.dockerConfigSecret))) }}{{ end -}}
{{- range $i, $from := .Values.repositories -}}
{{- $auth := default dict $from.auth -}}
{{- $app := default dict $auth.githubApp -}}
{{- $keys := list (dict "name" $auth.sshSecret "keys" (list "ssh-privatekey" "known_hosts")) (dict "name" $auth.passwordSecret "keys" (list "password")) (dict "name" $app.keySecret "keys" (list "private-key.pem")) (dict "name" $from.caSecret "keys" (list "ca.crt")) (dict "name" $from.clientCertSecret "keys" (list "tls.crt" "tls.key")) -}}
{{- $named := include "automator.named" $keys | fromJsonArray -}}
{{- if $named }}{{ $all = append $all (dict "name" (printf "git-%d" $i) "path" (printf "git/%d" $i) "secrets" $named) }}{{ end -}}
{{- end -}}
{{- range $host, $from := .Values.registries.hosts -}}
{{- $keys := list (dict "name" $from.passwordSecret "keys" (list "password")) (dict "name" $from.caSecret "keys" (list "ca.crt")) (dict "name" $from.clientCertSecret "keys" (list "tls.crt" "tls.key")) -}}
{{- $named := include "automator.named" $keys | fromJsonArray -}}
{{- $folder := include "automator.hostFolder" $host -}}
{{- if $named }}{{ $all = append $all (dict "name" (printf "registry-%s" $folder) "path" (printf "registry/%s" $folder) "secrets" $named) }}{{ end -}}
{{- end -}}
{{- range $name, $from := .Values.verification.keys -}}
{{- $all = append $all (dict "name" (printf "key-%s" ($name | sha256sum | trunc 10)) "path" (printf "key/%s" $name) "secrets" (list (dict "name" $from.secret "keys" (list (default "cosign.pub" $from.key))))) -}}
{{- end -}}
{{- if .Values.verification.trustedRootSecret }}{{ $all = append $all (dict "name" "trusted-root" "path" "trusted-root" "secrets" (list (dict "name" .Values.verification.trustedRootSecret "keys" (list "trusted_root.json")))) }}{{ end -}}
{{- toJson $all -}}
{{- end -}}

{{/* Those of some Secrets that have a name. */}}
{{- define "automator.named" -}}
{{- $named := list -}}
{{- range . }}{{ if .name }}{{ $named = append $named . }}{{ end }}{{ end -}}
{{- toJson $named -}}
{{- end -}}

{{/* Whether any commit is made by the automator itself; empty if GitHub makes all. */}}
{{- define "automator.pushes" -}}
{{- range .Values.repositories }}{{ if ne (default "push" .commit) "api" }}yes{{ end }}{{ end -}}
{{- end -}}
