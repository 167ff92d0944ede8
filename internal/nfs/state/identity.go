package state

import "strings"

// An identity is an address space of the server (see the package comment): the
// export of a mount target, "" for the shared address, and after a '#' what
// else keeps clients apart there: TLS, the access point, who signed.

// Identity is the identity of a connection. The binding is "" for a plain one.
func Identity(export, binding string) string {
	if binding == "" {
		return export
	}
	return export + "#" + binding
}

func splitIdentity(identity string) (export, binding string) {
	export, binding, _ = strings.Cut(identity, "#")
	return export, binding
}

// exportOf is the export that the clients of an identity see, "" for all.
func exportOf(identity string) string {
	export, _ := splitIdentity(identity)
	return export
}
