package cloud

import (
	"context"
	"encoding/base64"
	"errors"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"

	"github.com/tandem-cd/tandem/automator/internal/shortlived"
)

// ecrHost matches private registries, with their dual-stack and FIPS forms; see "Amazon ECR endpoints and quotas" in the
// AWS General Reference.
var ecrHost = regexp.MustCompile(`^\d{12}\.dkr(?:\.ecr|-ecr)(-fips)?\.([a-z0-9-]{1,40})\.(?:amazonaws\.com|amazonaws\.com\.cn|on\.aws|on\.amazonwebservices\.com\.cn)$`)

const (
	// publicECR is the registry of public images, whose tokens come from one region.
	publicECR       = "public.ecr.aws"
	publicECRRegion = "us-east-1"
)

// ecrRegistry is what the host of a registry says.
type ecrRegistry struct {
	region       string
	fips, public bool
}

func parseECR(host string) (ecrRegistry, bool) {
	if host == publicECR {
		return ecrRegistry{region: publicECRRegion, public: true}, true
	}
	found := ecrHost.FindStringSubmatch(host)
	if found == nil {
		return ecrRegistry{}, false
	}
	return ecrRegistry{region: found[2], fips: found[1] != ""}, true
}

// fromAWS finds credentials in the order of the AWS SDK: variables, web identity of a service account, shared files,
// container and machine.
func fromAWS(ctx context.Context, host string) (shortlived.Credentials, error) {
	registry, ok := parseECR(host)
	if !ok {
		return shortlived.Credentials{}, errors.New("not a registry of ECR")
	}
	options := []func(*config.LoadOptions) error{config.WithRegion(registry.region)}
	if registry.fips {
		options = append(options, config.WithUseFIPSEndpoint(aws.FIPSEndpointStateEnabled))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return shortlived.Credentials{}, err
	}
	if registry.public {
		got, err := ecrpublic.NewFromConfig(cfg).GetAuthorizationToken(ctx, &ecrpublic.GetAuthorizationTokenInput{})
		if err != nil || got.AuthorizationData == nil {
			return shortlived.Credentials{}, orEmpty(err)
		}
		return splitToken(got.AuthorizationData.AuthorizationToken, got.AuthorizationData.ExpiresAt)
	}
	got, err := ecr.NewFromConfig(cfg).GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil || len(got.AuthorizationData) == 0 {
		return shortlived.Credentials{}, orEmpty(err)
	}
	return splitToken(got.AuthorizationData[0].AuthorizationToken, got.AuthorizationData[0].ExpiresAt)
}

func orEmpty(err error) error {
	if err == nil {
		err = errors.New("the answer is empty")
	}
	return err
}

// splitToken reads base64 of "AWS:password".
func splitToken(token *string, expires *time.Time) (shortlived.Credentials, error) {
	pair, err := base64.StdEncoding.DecodeString(aws.ToString(token))
	username, password, ok := strings.Cut(string(pair), ":")
	if err != nil || !ok || expires == nil {
		return shortlived.Credentials{}, errors.New("the answer is no token of ECR")
	}
	return shortlived.Credentials{Username: username, Password: password, Expires: *expires}, nil
}
