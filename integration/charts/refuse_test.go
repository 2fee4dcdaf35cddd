package charts

import (
	"strings"
	"testing"
)

// TestRefusals tries what an installer forgets or mistypes. The message is for him, so it has to name the key.
func TestRefusals(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		chart  string
		set    []string // over the least values that install
		want   string   // what the message has to say
	}{
		"TrustMode":       {reason: "It has no default, and the choice is explained.", chart: synchronizerChart, set: []string{"trust.mode="}, want: "signed  every commit is verified"},
		"TrustModeTypo":   {reason: "A third mode does not exist.", chart: synchronizerChart, set: []string{"trust.mode=sined"}, want: "/trust/mode"},
		"Humans":          {reason: "Nobody could change anything.", chart: synchronizerChart, set: []string{"trust.humans=null"}, want: "trust.humans is empty"},
		"Cluster":         {reason: "Nothing would be granted to it.", chart: synchronizerChart, set: []string{"cluster="}, want: "cluster is missing"},
		"Address":         {reason: "There is nothing to dial.", chart: synchronizerChart, set: []string{"automator.address="}, want: "automator.address is missing"},
		"AddressPort":     {reason: "The network policy is made of the port.", chart: synchronizerChart, set: []string{"automator.address=tandem.example.com"}, want: "/automator/address"},
		"Namespaces":      {reason: "Rights everywhere have to be asked for.", chart: synchronizerChart, set: []string{"namespaces=null"}, want: "clusterWide=true"},
		"Identity":        {reason: "The message says how to get a token.", chart: synchronizerChart, set: []string{"automator.tls.secretName="}, want: "tandem cluster enroll dev-eu"},
		"TwoTokens":       {reason: "Which one counts would be a guess.", chart: synchronizerChart, set: []string{"enrollment.token=a", "enrollment.tokenSecret=b"}, want: "keep one"},
		"StatusInClear":   {reason: "Tokens must not travel in the clear.", chart: synchronizerChart, set: []string{"status.enabled=true"}, want: "status.tlsSecret is missing"},
		"SyncElsewhere":   {reason: "Nobody would look at it.", chart: synchronizerChart, set: []string{"syncs[0].name=a", "syncs[0].namespace=b", "syncs[0].spec.source.repository=c"}, want: "not in namespaces"},
		"SignedByNobody":  {reason: "A rule that is misspelt must not be ignored.", chart: synchronizerChart, set: []string{"images.signed[0].repositories[0]=a", "images.signed[0].key[0]=b"}, want: "/images/signed/0"},
		"OneVolume":       {reason: "Several replicas cannot share it.", chart: synchronizerChart, set: []string{"replicas=2", "state.persistent=true"}, want: "state.persistent is for a single replica"},
		"Shards":          {reason: "Some Syncs would be nobody's.", chart: synchronizerChart, set: []string{"replicas=2", "shards=3"}, want: "set replicas to 3, or to 4"},
		"SyncMode":        {reason: "A mode that does not exist might write.", chart: synchronizerChart, set: []string{"syncs[0].name=a", "syncs[0].namespace=shop", "syncs[0].spec.source.repository=c", "syncs[0].spec.mode=watch"}, want: "/syncs/0/spec/mode"},
		"UnknownKey":      {reason: "A key that is misspelt must not be ignored.", chart: synchronizerChart, set: []string{"namespace=shop"}, want: "namespace"},
		"UnknownKeyDeep":  {reason: "Nor one further down.", chart: automatorChart, set: []string{"webhook.ingress.hostname=a"}, want: "hostname"},
		"Account":         {reason: "The pod needs one.", chart: automatorChart, set: []string{"serviceAccount.create=false"}, want: "serviceAccount.name"},
		"Repositories":    {reason: "There is nothing to do.", chart: automatorChart, set: []string{"repositories=null"}, want: "repositories is empty"},
		"Signing":         {reason: "The message makes the key.", chart: automatorChart, set: []string{"signing.secretName="}, want: "ssh-keygen"},
		"Email":           {reason: "It stands in every commit.", chart: automatorChart, set: []string{"signing.email="}, want: "signing.email is missing"},
		"NoIdentity":      {reason: "Nobody could connect.", chart: automatorChart, set: []string{"tls.secretName="}, want: "authority.secretName is missing"},
		"TwoIdentities":   {reason: "Which one counts would be a guess.", chart: automatorChart, set: []string{"authority.secretName=a"}, want: "both set"},
		"WebhookToken":    {reason: "Anybody could send hints.", chart: automatorChart, set: []string{"webhook.enabled=true"}, want: "webhook.tokenSecret is missing"},
		"ProxyInClear":    {reason: "Whoever reaches the port speaks for the proxy.", chart: automatorChart, set: []string{"proxy.port=9080"}, want: "proxy.port is open without TLS"},
		"DatabaseAddress": {reason: "It may hold a password, which ends up in Git.", chart: automatorChart, set: []string{"store.postgres.hosts[0]=postgres://tandem:secret@db"}, want: "/store/postgres/hosts"},
		"VaultAuth":       {reason: "Vault would know nobody.", chart: automatorChart, set: []string{"vault.address=https://vault:8200"}, want: "vault.auth needs exactly one"},
		"VaultTwoAuths":   {reason: "Which one counts would be a guess.", chart: automatorChart, set: []string{"vault.address=https://vault:8200", "vault.auth.jwt.role=a", "vault.auth.kubernetes.role=b"}, want: "vault.auth needs exactly one"},
		"VaultNowhere":    {reason: "There is nobody to ask.", chart: automatorChart, set: []string{"vault.auth.kubernetes.role=tandem"}, want: "vault.address is missing"},
		"VaultSecretID":   {reason: "A role alone is no proof.", chart: automatorChart, set: []string{"vault.address=https://vault:8200", "vault.auth.appRole.roleID=a"}, want: "secretIDSecret is missing"},
		"VaultPath":       {reason: "It would be another path of the API.", chart: automatorChart, set: []string{"vault.address=https://vault:8200", "repositories[0].auth.vault.path=/secret"}, want: "/repositories/0/auth/vault/path"},
		"IngressOfNone":   {reason: "It would lead nowhere.", chart: automatorChart, set: []string{"webhook.ingress.enabled=true"}, want: "webhook.enabled is false"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var args []string
			for _, set := range tc.set {
				args = append(args, "--set", set)
			}
			out, err := render(t, tc.chart, "testdata/"+tc.chart+"/tls.values.yaml", args...)
			if err == nil {
				t.Fatalf("%s: rendered %v:\n%s", tc.reason, tc.set, out)
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: %v: want a message with %q", tc.reason, err, tc.want)
			}
		})
	}
}
