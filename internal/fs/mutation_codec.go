package fs

func (m *Genesis) appendBody(b []byte) []byte {
	b = append(b, m.Lineage[:]...)
	b = putUint(b, uint64(m.Mode))
	b = putUint(b, uint64(m.UID))
	b = putUint(b, uint64(m.GID))
	return putTime(b, m.Time)
}

func (m *Epoch) appendBody(b []byte) []byte {
	b = appendEpochID(b, m.ID)
	b = putString(b, m.Region)
	b = putString(b, m.FSID)
	return putTime(b, m.Time)
}

func (m *Create) appendBody(b []byte) []byte {
	b = putUint(b, uint64(m.Parent))
	b = putString(b, m.Name)
	b = putUint(b, uint64(m.Ino))
	b = append(b, byte(m.Type))
	b = putUint(b, uint64(m.Mode))
	b = putUint(b, uint64(m.UID))
	b = putUint(b, uint64(m.GID))
	b = putUint(b, uint64(m.Major))
	b = putUint(b, uint64(m.Minor))
	b = putString(b, m.Target)
	b = append(b, m.Verifier[:]...)
	b = putTime(b, m.Atime)
	b = putTime(b, m.Mtime)
	return putTime(b, m.Time)
}

func (m *Link) appendBody(b []byte) []byte {
	b = putUint(b, uint64(m.Parent))
	b = putString(b, m.Name)
	b = putUint(b, uint64(m.Ino))
	return putTime(b, m.Time)
}

func (m *Unlink) appendBody(b []byte) []byte {
	b = putUint(b, uint64(m.Parent))
	b = putString(b, m.Name)
	b = putUint(b, uint64(m.Ino))
	b = putBool(b, m.Last)
	b = putBool(b, m.Hold)
	return putTime(b, m.Time)
}

func (m *Rename) appendBody(b []byte) []byte {
	b = putUint(b, uint64(m.From))
	b = putString(b, m.FromName)
	b = putUint(b, uint64(m.To))
	b = putString(b, m.ToName)
	b = putUint(b, uint64(m.Ino))
	b = putUint(b, uint64(m.Victim))
	b = putBool(b, m.Last)
	b = putBool(b, m.Hold)
	return putTime(b, m.Time)
}

func (m *SetAttr) appendBody(b []byte) []byte {
	b = putUint(b, uint64(m.Ino))
	b = putUint(b, uint64(m.Mask))
	if m.Mask&SetMode != 0 {
		b = putUint(b, uint64(m.Mode))
	}
	if m.Mask&SetUID != 0 {
		b = putUint(b, uint64(m.UID))
	}
	if m.Mask&SetGID != 0 {
		b = putUint(b, uint64(m.GID))
	}
	if m.Mask&SetSize != 0 {
		b = putUint(b, m.Size)
	}
	if m.Mask&SetAtime != 0 {
		b = putTime(b, m.Atime)
	}
	if m.Mask&SetMtime != 0 {
		b = putTime(b, m.Mtime)
	}
	return putTime(b, m.Ctime)
}

func (m *Write) appendBody(b []byte) []byte {
	b = putUint(b, uint64(m.Ino))
	b = putUint(b, m.Offset)
	b = putUint(b, uint64(m.Length))
	b = putUint(b, uint64(m.ClearMode))
	return putTime(b, m.Time)
}

func (m *Reclaim) appendBody(b []byte) []byte {
	return putBool(putUint(b, uint64(m.Ino)), m.Drop)
}

func (m *Setting) appendBody(b []byte) []byte {
	b = putString(b, m.Key)
	b = putString(b, m.Value)
	return putBool(b, m.Delete)
}

func (m *Client) appendBody(b []byte) []byte {
	return putBool(putString(b, m.Owner), m.Delete)
}

func (m *Xattr) appendBody(b []byte) []byte {
	b = putUint(b, uint64(m.Ino))
	b = putString(b, m.Name)
	b = putString(b, m.Value)
	b = putBool(b, m.Delete)
	return putTime(b, m.Time)
}

func (m *Punch) appendBody(b []byte) []byte {
	b = putUint(b, uint64(m.Ino))
	b = putUint(b, m.From)
	b = putUint(b, m.To)
	b = putUint(b, uint64(m.ClearMode))
	return putTime(b, m.Time)
}

func (m *Clone) appendBody(b []byte) []byte {
	b = putUint(b, uint64(m.Src))
	b = putUint(b, m.SrcOffset)
	b = putUint(b, uint64(m.Dst))
	b = putUint(b, m.DstOffset)
	b = putUint(b, m.Length)
	b = putUint(b, uint64(m.ClearMode))
	return putTime(b, m.Time)
}

func (m *Noop) appendBody(b []byte) []byte { return b }

func parseBody(k Kind, d *decoder) Mutation {
	switch k {
	case KindGenesis:
		m := &Genesis{}
		copy(m.Lineage[:], d.fixed(16))
		m.Mode, m.UID, m.GID, m.Time = d.uint32(), d.uint32(), d.uint32(), d.time()
		return m
	case KindEpoch:
		return &Epoch{ID: d.epoch(), Region: string(d.bytes(64)), FSID: string(d.bytes(64)), Time: d.time()}
	case KindCreate:
		return parseCreate(d)
	case KindLink:
		return &Link{Parent: Ino(d.uint()), Name: d.name(), Ino: Ino(d.uint()), Time: d.time()}
	case KindUnlink:
		return &Unlink{Parent: Ino(d.uint()), Name: d.name(), Ino: Ino(d.uint()), Last: d.bool(), Hold: d.bool(), Time: d.time()}
	case KindRename:
		return &Rename{From: Ino(d.uint()), FromName: d.name(), To: Ino(d.uint()), ToName: d.name(),
			Ino: Ino(d.uint()), Victim: Ino(d.uint()), Last: d.bool(), Hold: d.bool(), Time: d.time()}
	case KindSetAttr:
		return parseSetAttr(d)
	case KindWrite:
		m := &Write{Ino: Ino(d.uint()), Offset: d.uint(), Length: d.uint32(), ClearMode: d.uint32(), Time: d.time()}
		if m.Length == 0 || m.Length > MaxWrite || m.Offset > MaxFileSize {
			d.fail("write out of range")
		}
		return m
	case KindReclaim:
		return &Reclaim{Ino: Ino(d.uint()), Drop: d.bool()}
	case KindSetting:
		return &Setting{Key: string(d.bytes(MaxName)), Value: append([]byte(nil), d.bytes(MaxSetting)...), Delete: d.bool()}
	case KindClient:
		return &Client{Owner: append([]byte(nil), d.bytes(MaxClientName)...), Delete: d.bool()}
	case KindXattr:
		return &Xattr{Ino: Ino(d.uint()), Name: d.name(), Value: append([]byte(nil), d.bytes(MaxXattrValue)...), Delete: d.bool(), Time: d.time()}
	case KindPunch:
		m := &Punch{Ino: Ino(d.uint()), From: d.uint(), To: d.uint(), ClearMode: d.uint32(), Time: d.time()}
		if m.From >= m.To || m.To > MaxFileSize {
			d.fail("hole out of range")
		}
		return m
	case KindClone:
		m := &Clone{Src: Ino(d.uint()), SrcOffset: d.uint(), Dst: Ino(d.uint()), DstOffset: d.uint(), Length: d.uint(), ClearMode: d.uint32(), Time: d.time()}
		if m.Length == 0 || m.Length > MaxFileSize || m.SrcOffset > MaxFileSize-m.Length || m.DstOffset > MaxFileSize-m.Length {
			d.fail("clone out of range")
		}
		return m
	case KindNoop:
		return &Noop{}
	}
	return nil
}

func parseCreate(d *decoder) *Create {
	m := &Create{Parent: Ino(d.uint()), Name: d.name(), Ino: Ino(d.uint()), Type: Type(d.fixed(1)[0])}
	m.Mode, m.UID, m.GID = d.uint32(), d.uint32(), d.uint32()
	m.Major, m.Minor = d.uint32(), d.uint32()
	m.Target = string(d.bytes(MaxSymlink))
	copy(m.Verifier[:], d.fixed(8))
	m.Atime, m.Mtime, m.Time = d.time(), d.time(), d.time()
	if m.Type < TypeRegular || m.Type > TypeFIFO {
		d.fail("unknown file type")
	}
	return m
}

func parseSetAttr(d *decoder) *SetAttr {
	m := &SetAttr{Ino: Ino(d.uint()), Mask: d.uint32()}
	if m.Mask&^setAll != 0 {
		d.fail("attribute not known to this release")
	}
	if m.Mask&SetMode != 0 {
		m.Mode = d.uint32()
	}
	if m.Mask&SetUID != 0 {
		m.UID = d.uint32()
	}
	if m.Mask&SetGID != 0 {
		m.GID = d.uint32()
	}
	if m.Mask&SetSize != 0 {
		m.Size = d.uint()
	}
	if m.Mask&SetAtime != 0 {
		m.Atime = d.time()
	}
	if m.Mask&SetMtime != 0 {
		m.Mtime = d.time()
	}
	m.Ctime = d.time()
	return m
}
