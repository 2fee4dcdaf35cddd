package apply

import (
	"fmt"
	"regexp"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tandem-cd/tandem/synchronizer/internal/object"
)

// isSecret reports whether an object's values are secrets. What the API server, a webhook or a policy says about one may
// quote them, so nothing of it is repeated: from here it would go into the Sync's status, into Events and to the automator.
func isSecret(key object.Key) bool { return key.Group == "" && key.Kind == "Secret" }

var (
	// expects is how the API server says which field of an object has the wrong type. What it got comes behind.
	expects = regexp.MustCompile(`(?m)(\.(?:data|stringData|metadata|type|immutable)[A-Za-z0-9_./-]*): expected (\w+)`)
	// noBase64 is how it says that a value under data is not encoded; it does not say which one.
	noBase64 = regexp.MustCompile(`illegal base64 data`)
)

const leftOut = "what else is said about a Secret may repeat its values and is left out: kubectl apply --server-side --dry-run=server -f FILE shows it"

// explainSecret says what is wrong with a Secret in words of our own.
func explainSecret(s metav1.Status, t *target) (Class, string) {
	class, message := explain(s, t)
	switch {
	case noBase64.MatchString(s.Message):
		class = Invalid // the API server takes it for an error of its own
	case class == Conflict, class == Denied, class == NoNamespace, class == UnknownKind, message == tooLarge:
		return class, message // nothing of these is the API server's text
	case class == Refused:
		return class, "an admission policy, a webhook or a quota says no; " + leftOut
	case webhookSilent.MatchString(s.Message):
		return class, fmt.Sprintf("the admission webhook %q, which the API server must ask, does not answer; ", webhookSilent.FindStringSubmatch(s.Message)[1]) + leftOut
	case class == Unavailable:
		return class, "the API server, or a webhook that it asks, does not answer properly; " + leftOut
	}
	if named := faultyFields(s); named != "" {
		return class, "is not valid: " + named + "; " + leftOut
	}
	return class, "is not accepted; " + leftOut
}

// faultyFields names the fields of a Secret that the API server does not accept, without what they hold.
func faultyFields(s metav1.Status) string {
	var texts []string
	if noBase64.MatchString(s.Message) {
		texts = append(texts, "a value under data is not Base64; encode it, or write it under stringData")
	}
	for _, found := range expects.FindAllStringSubmatch(s.Message, -1) {
		texts = append(texts, fmt.Sprintf("%s: expected %s; quote it if it is text", found[1], found[2]))
	}
	if len(texts) == 0 && s.Details != nil {
		for _, cause := range s.Details.Causes {
			texts = append(texts, fmt.Sprintf("%s (%s)", cause.Field, cause.Type))
		}
	}
	return strings.Join(texts, "; ")
}
