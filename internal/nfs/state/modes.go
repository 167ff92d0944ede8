package state

// modes is the set of (access, deny) pairs that the OPENs of one open owner
// had, a bit for each, so that OPEN_DOWNGRADE can be held to the union of some
// of them (RFC 8881 §18.18.3).
type modes uint16

func modeBit(access, deny uint32) modes { return 1 << (access&3<<2 | deny&3) }

func (m *modes) add(access, deny uint32) { *m |= modeBit(access, deny) }

// lower leaves only the pairs within access and deny, if their union is just
// that; otherwise it changes nothing.
func (m *modes) lower(access, deny uint32) bool {
	var left modes
	var a, d uint32
	for x := range uint32(4) {
		for y := range uint32(4) {
			if b := modeBit(x, y); *m&b != 0 && x&^access == 0 && y&^deny == 0 {
				left |= b
				a, d = a|x, d|y
			}
		}
	}
	if a != access || d != deny {
		return false
	}
	*m = left
	return true
}
