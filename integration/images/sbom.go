package images

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/tandem-cd/tandem/integration/images/debian"
)

const (
	unknown    = "NOASSERTION"
	documentID = "SPDXRef-DOCUMENT"
	imageID    = "SPDXRef-image"
	ours       = "github.com/tandem-cd/tandem/"
)

// document is an SPDX 2.3 document: https://spdx.github.io/spdx-spec/v2.3.
type document struct {
	Version       string             `json:"spdxVersion"`
	DataLicense   string             `json:"dataLicense"`
	ID            string             `json:"SPDXID"`
	Name          string             `json:"name"`
	Namespace     string             `json:"documentNamespace"`
	Creation      creation           `json:"creationInfo"`
	Packages      []spdxPackage      `json:"packages"`
	Relationships []spdxRelationship `json:"relationships"`
}

type creation struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

type spdxPackage struct {
	Name          string     `json:"name"`
	ID            string     `json:"SPDXID"`
	Version       string     `json:"versionInfo"`
	Download      string     `json:"downloadLocation"`
	FilesAnalyzed bool       `json:"filesAnalyzed"`
	Concluded     string     `json:"licenseConcluded"`
	Declared      string     `json:"licenseDeclared"`
	Copyright     string     `json:"copyrightText"`
	Purpose       string     `json:"primaryPackagePurpose,omitempty"`
	SourceInfo    string     `json:"sourceInfo,omitempty"`
	Checksums     []checksum `json:"checksums,omitempty"`
	Refs          []spdxRef  `json:"externalRefs,omitempty"`
}

type checksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

type spdxRef struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type spdxRelationship struct {
	From string `json:"spdxElementId"`
	Type string `json:"relationshipType"`
	To   string `json:"relatedSpdxElement"`
}

// bill lists what an image holds: its programs, the modules linked into them, and
// the packages. The programs say themselves which modules those are.
func bill(spec Spec, stamp Stamp, platform v1.Platform, programs []program, packages []debian.Package) ([]byte, error) {
	d := document{
		Version: "SPDX-2.3", DataLicense: "CC0-1.0", ID: documentID, Name: spec.Name + "-" + platform.Architecture,
		Creation: creation{Created: stamp.Created.Format(time.RFC3339), Creators: []string{"Organization: Tandem", "Tool: tandem-images"}},
	}
	d.Packages = []spdxPackage{newPackage(imageID, spec.Name, stamp.Version, "CONTAINER")}
	d.Packages[0].Declared = license
	d.relate(documentID, "DESCRIBES", imageID)
	for _, p := range programs {
		d.addProgram(p, stamp)
	}
	for _, p := range packages {
		d.addDebian(p, platform.Architecture)
	}
	// The namespace has to be another one for another content.
	content, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	d.Namespace = fmt.Sprintf("https://tandem.dev/spdx/%s/%x", d.Name, sha256.Sum256(content))
	content, err = json.MarshalIndent(d, "", " ")
	return append(content, '\n'), err
}

func newPackage(id, name, version, purpose string) spdxPackage {
	return spdxPackage{
		ID: id, Name: name, Version: version, Purpose: purpose,
		Download: unknown, Concluded: unknown, Declared: unknown, Copyright: unknown,
	}
}

func (d *document) relate(from, kind, to string) {
	relation := spdxRelationship{From: from, Type: kind, To: to}
	if !slices.Contains(d.Relationships, relation) {
		d.Relationships = append(d.Relationships, relation)
	}
}

func (d *document) add(p spdxPackage) {
	if !slices.ContainsFunc(d.Packages, func(known spdxPackage) bool { return known.ID == p.ID }) {
		d.Packages = append(d.Packages, p)
	}
}

func (d *document) addProgram(p program, stamp Stamp) {
	main := newPackage("SPDXRef-program-"+p.name, p.name, stamp.Version, "APPLICATION")
	main.Declared = license
	main.Checksums = []checksum{{Algorithm: "SHA256", Value: fmt.Sprintf("%x", sha256.Sum256(p.content))}}
	d.add(main)
	d.relate(imageID, "CONTAINS", main.ID)
	std := newPackage(spdxID("go", "stdlib", p.build.GoVersion), "stdlib", strings.TrimPrefix(p.build.GoVersion, "go"), "LIBRARY")
	std.Refs = purl("pkg:golang/stdlib@" + std.Version)
	d.add(std)
	d.relate(main.ID, "DEPENDS_ON", std.ID)
	for _, module := range p.build.Deps {
		dependency := goModule(module, stamp)
		d.add(dependency)
		d.relate(main.ID, "DEPENDS_ON", dependency.ID)
	}
}

func goModule(module *debug.Module, stamp Stamp) spdxPackage {
	version := module.Version
	if strings.HasPrefix(module.Path, ours) { // the workspace's modules have no version of their own
		version = stamp.Version
	}
	p := newPackage(spdxID("go", module.Path, version), module.Path, version, "LIBRARY")
	p.Refs = purl("pkg:golang/" + module.Path + "@" + url.QueryEscape(version))
	p.SourceInfo = module.Sum
	return p
}

func (d *document) addDebian(p debian.Package, architecture string) {
	one := newPackage(spdxID("deb", p.Name, p.Version), p.Name, p.Version, "OPERATING-SYSTEM")
	one.Checksums = []checksum{{Algorithm: "SHA256", Value: p.SHA256}}
	one.Refs = purl("pkg:deb/debian/" + url.QueryEscape(p.Name) + "@" + url.QueryEscape(p.Version) + "?arch=" + architecture)
	d.add(one)
	d.relate(imageID, "CONTAINS", one.ID)
}

func purl(locator string) []spdxRef {
	return []spdxRef{{Category: "PACKAGE-MANAGER", Type: "purl", Locator: locator}}
}

// spdxID makes an identifier of the letters that SPDX allows.
func spdxID(kind, name, version string) string {
	text := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' {
			return r
		}
		return '-'
	}, name+"-"+cmp.Or(version, "none"))
	return "SPDXRef-" + kind + "-" + text
}
