package debian

import (
	"bufio"
	"bytes"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strings"

	"pault.ag/go/debian/control"
)

// publicMirror is Debian's own, for machines whose apt names none.
const publicMirror = "http://deb.debian.org/"

// mirror is the folder of an archive. A mirror that apt is configured with is
// the machine owner's affair: it is used and never named.
type mirror struct {
	base    string // ends in a slash
	private bool
}

// mirrors lists where an archive may be had, apt's choice first. files is the
// folder that holds sources.list and sources.list.d.
func mirrors(files fs.FS, archive string) []mirror {
	var found []mirror
	for _, base := range sources(files) {
		if path.Base(strings.TrimSuffix(base, "/")) == archive && !strings.HasPrefix(base, publicMirror) {
			found = append(found, mirror{base: strings.TrimSuffix(base, "/") + "/", private: true})
		}
	}
	return append(found, mirror{base: publicMirror + archive + "/"})
}

// sources are the addresses that apt is configured with, and that HTTP reaches.
func sources(files fs.FS) []string {
	var bases []string
	lists, _ := fs.Glob(files, "sources.list.d/*") // fails on a bad pattern only
	for _, name := range append([]string{"sources.list"}, lists...) {
		content, err := fs.ReadFile(files, name)
		if err != nil {
			continue // there is no such file, or it is not for us to read
		}
		if strings.HasSuffix(name, ".sources") {
			bases = append(bases, paragraphs(content)...)
		} else if strings.HasSuffix(name, ".list") {
			bases = append(bases, lines(content)...)
		}
	}
	return slices.DeleteFunc(bases, func(base string) bool {
		address, err := url.Parse(base)
		return err != nil || address.Scheme != "http" && address.Scheme != "https"
	})
}

// paragraphs reads the format of *.sources files.
func paragraphs(content []byte) []string {
	reader, err := control.NewParagraphReader(bytes.NewReader(content), nil)
	if err != nil {
		return nil
	}
	var bases []string
	for {
		paragraph, err := reader.Next()
		if err != nil {
			return bases
		}
		bases = append(bases, strings.Fields(paragraph.Values["URIs"])...)
	}
}

// lines reads the format of *.list files: deb [options] address suite component...
func lines(content []byte) []string {
	var bases []string
	for scanner := bufio.NewScanner(bytes.NewReader(content)); scanner.Scan(); {
		words := strings.Fields(scanner.Text())
		if len(words) == 0 || words[0] != "deb" {
			continue
		}
		at := slices.IndexFunc(words, func(word string) bool { return strings.Contains(word, "://") })
		if at > 0 {
			bases = append(bases, words[at])
		}
	}
	return bases
}
