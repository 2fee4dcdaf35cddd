package debian

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"pault.ag/go/debian/deb"

	"github.com/tandem-cd/tandem/integration/images/layer"
)

// maxFile bounds one file of a package, in bytes; the tree bounds their sum.
const maxFile = 128 << 20

// dropped are folders that nothing in an image reads: documentation,
// translations, and scripts in languages that are not there. Copyright notices
// stay.
func dropped() []string {
	return []string{
		"etc/cron.daily", "etc/init.d", "etc/systemd", "usr/lib/systemd", "usr/lib/tmpfiles.d", "usr/lib/sysusers.d",
		"usr/share/bash-completion", "usr/share/bug", "usr/share/doc-base", "usr/share/gitweb", "usr/share/git-core/contrib",
		"usr/share/gdb", "usr/share/info", "usr/share/lintian", "usr/share/locale", "usr/share/man", "usr/share/perl5",
		"usr/share/apport", "usr/lib/git-core/mergetools",
	}
}

// wanted tells whether a file goes into an image.
func wanted(name string) bool {
	if strings.HasPrefix(name, "usr/share/doc/") {
		return path.Base(name) == "copyright"
	}
	for _, folder := range dropped() {
		if name == folder || strings.HasPrefix(name, folder+"/") {
			return false
		}
	}
	return true
}

// merged are the folders that Debian has moved below usr, with a link in their
// place; a package may still name them as they were.
func merged() []string { return []string{"bin", "lib", "lib64", "sbin"} }

// Prepare makes the root that packages are unpacked into.
func Prepare(tree *layer.Tree) error {
	var errs []error
	for _, name := range merged() {
		errs = append(errs, tree.Link(name, "usr/"+name))
	}
	return errors.Join(errs...)
}

func placed(name string) string {
	first, _, _ := strings.Cut(name, "/")
	if slices.Contains(merged(), first) {
		return "usr/" + name
	}
	return name
}

// Unpack adds the files of packages to a tree. Their scripts are not run.
func Unpack(tree *layer.Tree, packages ...[]byte) error {
	for _, content := range packages {
		if err := unpack(tree, content); err != nil {
			return err
		}
	}
	return nil
}

func unpack(tree *layer.Tree, content []byte) (err error) {
	opened, err := deb.Load(bytes.NewReader(content), "")
	if err != nil {
		return fmt.Errorf("open package: %w", err)
	}
	defer func() { err = errors.Join(err, opened.Close()) }()
	for {
		header, err := opened.Data.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = add(tree, header, opened.Data)
		}
		if err != nil {
			return fmt.Errorf("unpack %s: %w", opened.Control.Package, err)
		}
	}
}

func add(tree *layer.Tree, header *tar.Header, content io.Reader) error {
	name := strings.TrimPrefix(header.Name, "./")
	if !wanted(strings.TrimSuffix(name, "/")) {
		return nil
	}
	name = placed(name)
	entry := layer.Entry{Mode: header.FileInfo().Mode()}
	switch header.Typeflag {
	case tar.TypeDir:
	case tar.TypeSymlink:
		entry.Target = header.Linkname
	case tar.TypeLink:
		target := placed(strings.TrimPrefix(header.Linkname, "./"))
		linked, ok := tree.Get(target)
		if !ok {
			return fmt.Errorf("%q is a link to %q, which is not there", name, header.Linkname)
		}
		entry = linked
	case tar.TypeReg:
		if header.Size > maxFile {
			return fmt.Errorf("%q: %w: %d bytes", name, layer.ErrLimit, header.Size)
		}
		var err error
		if entry.Content, err = io.ReadAll(io.LimitReader(content, maxFile)); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%q: kind %q has no place in an image", name, header.Typeflag)
	}
	return tree.Add(name, entry)
}

const (
	certificates = "usr/share/ca-certificates/"
	bundle       = "etc/ssl/certs/ca-certificates.crt"
)

// Finish does what the packages' scripts would have done that matters here: the
// bundle of certificate authorities, and /bin/sh.
func Finish(tree *layer.Tree) error {
	var all bytes.Buffer
	for _, name := range tree.Names() {
		if !strings.HasPrefix(name, certificates) || path.Ext(name) != ".crt" {
			continue
		}
		one, _ := tree.Get(name)
		all.Write(bytes.TrimSpace(one.Content))
		all.WriteByte('\n')
	}
	if all.Len() == 0 {
		return errors.New("no certificate authorities: is ca-certificates among the packages?")
	}
	if err := tree.File(bundle, all.Bytes()); err != nil {
		return err
	}
	if _, ok := tree.Get("usr/bin/sh"); ok {
		return nil
	}
	return tree.Link("usr/bin/sh", "dash")
}
