// Package nodetest follows docs/install.md, word for word where that is possible,
// on a real node: Pods that containerd pulls from the registry and runc starts,
// both agents among them, installed from their charts with the images that `make
// images` makes. Then somebody pushes an image, and with nobody touching anything
// the Pods answer HTTP with the new version.
//
//	make node-test
//
// The commands of the guide are run as they stand there. What differs, such as
// the names of the registry and the Git host, is put in their place, and a
// replacement that finds nothing to replace fails the test: the guide and the
// test can only change together.
//
// It needs root on Linux and what package node's Check names. TANDEM_NODE_TEST
// says what to do where a node cannot run: "auto" (the default) says why, and
// passes; "required" fails; and "off" passes everywhere.
package nodetest
