package cloud

import "testing"

func TestWhoseRegistry(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		provider Provider
		host     string
		ok       bool
	}{
		"ECR":              {AWS, "123456789012.dkr.ecr.eu-central-1.amazonaws.com", true},
		"ECRFIPS":          {AWS, "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", true},
		"ECRChina":         {AWS, "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", true},
		"ECRDualStack":     {AWS, "123456789012.dkr-ecr.eu-west-1.on.aws", true},
		"ECRPublic":        {AWS, "public.ecr.aws", true},
		"ECRWithMore":      {AWS, "123456789012.dkr.ecr.eu-central-1.amazonaws.com.evil.test", false},
		"ECRWithPort":      {AWS, "123456789012.dkr.ecr.eu-central-1.amazonaws.com:8443", false},
		"ECROfNobody":      {AWS, "x.dkr.ecr.eu-central-1.amazonaws.com", false},
		"GCR":              {Google, "eu.gcr.io", true},
		"ArtifactRegistry": {Google, "europe-west3-docker.pkg.dev", true},
		"OtherPackages":    {Google, "europe-west3-npm.pkg.dev", false},
		"LikeGCR":          {Google, "evilgcr.io", false},
		"ACR":              {Azure, "acme.azurecr.io", true},
		"LikeACR":          {Azure, "evilazurecr.io", false},
		"ACRWithPort":      {Azure, "acme.azurecr.io:8443", false},
		"Elsewhere":        {AWS, "acme.azurecr.io", false},
		"Unknown":          {"oracle", "fra.ocir.io", false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := check(tc.provider, tc.host); (err == nil) != tc.ok {
				t.Errorf("check(%s, %s): %v", tc.provider, tc.host, err)
			}
		})
	}
}
