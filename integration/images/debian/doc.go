// Package debian takes the files of Debian packages that are pinned by name,
// version and SHA-256, so that an image holds git and OpenSSH's client without a
// container engine, and the same bytes whoever builds it.
//
// Resolve writes the pins: it verifies the release with the keyring that Debian
// machines have, and follows the packages' dependencies. Fetch and Unpack only
// ever read what is pinned.
//
//	lock, err := debian.Read(content)
//	packages, err := debian.Fetcher{Cache: dir}.Fetch(ctx, lock.Packages["amd64"])
//	err = debian.Unpack(&tree, packages...)
package debian
