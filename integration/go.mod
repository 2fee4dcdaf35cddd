module github.com/tandem-cd/tandem/integration

go 1.26.0

require (
	github.com/tandem-cd/tandem/automator v0.0.0
	github.com/tandem-cd/tandem/proto v0.0.0
	github.com/tandem-cd/tandem/shared v0.0.0
	github.com/tandem-cd/tandem/synchronizer v0.0.0
)

require (
	github.com/distribution/distribution/v3 v3.1.2 // indirect
	github.com/distribution/reference v0.6.0 // indirect
	github.com/google/go-cmp v0.7.0 // indirect
	github.com/google/go-containerregistry v0.22.1 // indirect
	github.com/opencontainers/go-digest v1.0.0 // indirect
	github.com/opencontainers/image-spec v1.1.1 // indirect
	github.com/rogpeppe/go-internal v1.16.0 // indirect
	go.uber.org/multierr v1.11.0 // indirect
	go.uber.org/zap v1.28.0 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/net v0.61.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	golang.org/x/tools v0.52.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20261005182115-fad411399dd8 // indirect
	google.golang.org/grpc v1.85.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
	k8s.io/api v0.37.2 // indirect
	k8s.io/client-go v0.37.2 // indirect
)

replace github.com/tandem-cd/tandem/proto => ../proto

replace github.com/tandem-cd/tandem/shared => ../shared

replace github.com/tandem-cd/tandem/automator => ../automator

replace github.com/tandem-cd/tandem/synchronizer => ../synchronizer
