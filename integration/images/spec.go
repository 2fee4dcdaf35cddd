package images

// Spec is what one image is made of.
type Spec struct {
	// Name is the image's repository name, and of its program.
	Name string
	// Description says what it is for, in a sentence.
	Description string
	// Programs is a pattern of packages: each main package below goes in.
	Programs string
	// Debian adds the pinned packages.
	Debian bool
}

// Specs are the product's images.
func Specs() []Spec {
	return []Spec{
		{Name: "tandem-automator", Programs: "./automator/cmd/automator", Debian: true, Description: "Watches registries, commits image updates to Git, and relays Git state to clusters."},
		{Name: "tandem-synchronizer", Programs: "./synchronizer/cmd/...", Description: "Converges a cluster on the Git state it receives and has verified."},
		{Name: "tandem", Programs: "./automator/cmd/tandem", Description: "The command line: asks the automator or a synchronizer, and holds no cluster credential."},
	}
}

// Smallest is the image that is built fastest, for tests of what all have in
// common.
func Smallest() Spec { return Specs()[2] }

const (
	// UserID is who the programs run as; nobody on the node has that number.
	UserID = 65532

	projectURL = "https://github.com/tandem-cd/tandem"
	license    = "Apache-2.0"

	programFolder = "usr/bin/"
	sbomFolder    = "usr/share/sbom/"
	stateFolder   = "var/lib/tandem"
	homeFolder    = "home/tandem"

	users  = "root:x:0:0:root:/root:/sbin/nologin\ntandem:x:65532:65532:Tandem:/home/tandem:/sbin/nologin\n"
	groups = "root:x:0:\ntandem:x:65532:\n"
)

// Platforms are what images are built for by default.
func Platforms() []string { return []string{"linux/amd64", "linux/arm64"} }
