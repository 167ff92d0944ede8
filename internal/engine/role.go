package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// ErrNotWhole: a replica that never received a whole tree cannot write.
var ErrNotWhole = errors.New("the file system has not received its content yet")

// Whole reports whether there is a complete tree.
func (e *Engine) Whole() bool { return e.journalNow() != nil }

// BeginWriting makes the engine the writer: it begins a new epoch, durable
// when the call returns, in constant time. On a writer it does nothing.
func (e *Engine) BeginWriting(ctx context.Context) error {
	seq, err := e.beginWriting()
	if err != nil {
		return err
	}
	return e.WaitCommitted(ctx, seq)
}

func (e *Engine) beginWriting() (uint64, error) {
	if err := e.DiscardStage(); err != nil {
		return 0, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.j == nil {
		return 0, ErrNotWhole
	}
	if err := e.Err(); err != nil {
		return 0, err
	}
	if Mode(e.mode.Load()) == Writer {
		return e.last.Seq, nil
	}
	if err := e.beginEpoch(); err != nil {
		return 0, fmt.Errorf("begin a new epoch: %w", err)
	}
	e.noteReceiving(false)
	clients, err := e.t.Clients()
	if err != nil {
		return 0, fmt.Errorf("begin a new epoch: %w", err)
	}
	e.holdMu.Lock()
	e.grace = len(clients)+len(e.localClients) > 0
	e.orphans = !e.grace // nobody will reclaim them
	e.holdMu.Unlock()
	e.mode.Store(int32(Writer))
	e.wake()
	return e.last.Seq, nil
}

// beginEpoch appends the record that begins an epoch; the first of a lineage
// is preceded by its genesis. Needs mu.
func (e *Engine) beginEpoch() error {
	if e.last.Seq == 0 {
		return e.genesis()
	}
	member, err := e.member()
	if err != nil && e.last.Seq == 1 {
		member, err = 0, nil // a crash came within genesis
	}
	if err != nil {
		return err
	}
	id, err := e.newEpoch(max(e.last.Epoch.Counter, e.base.Counter, e.ownCounter(member))+1, member)
	if err != nil {
		return err
	}
	first := e.last.Seq == 1
	if err := e.enter(id); err != nil || !first {
		return err
	}
	return e.append(e.firstMember(), nil, [16]byte{})
}

// firstMember registers this replica as number 0.
func (e *Engine) firstMember() *fs.Setting {
	return &fs.Setting{Key: memberKey(e.o.ID), Value: []byte{0, 0}}
}

// ownCounter is the highest counter of this member's epochs in the history.
func (e *Engine) ownCounter(member uint16) (n uint32) {
	for _, s := range e.t.Epochs() {
		if s.ID.Member == member {
			n = max(n, s.ID.Counter)
		}
	}
	return n
}

func (e *Engine) newEpoch(counter uint32, member uint16) (fs.EpochID, error) {
	if counter > fs.MaxEpochCounter {
		return fs.EpochID{}, fmt.Errorf("epoch %d: a lineage has at most %d", counter, fs.MaxEpochCounter)
	}
	var nonce [8]byte
	if _, err := io.ReadFull(e.o.Rand, nonce[:]); err != nil {
		return fs.EpochID{}, err
	}
	return fs.EpochID{Counter: counter, Member: member, Nonce: binary.BigEndian.Uint64(nonce[:])}, nil
}

func (e *Engine) enter(id fs.EpochID) error {
	old := *e.epoch.Load()
	e.epoch.Store(&id)
	e.nextIno = 1
	err := e.append(&fs.Epoch{ID: id, Region: e.o.Region, FSID: e.o.ID, Time: fs.TimeOf(e.o.Now())}, nil, [16]byte{})
	if err != nil {
		e.epoch.Store(&old)
		return err
	}
	e.log.Info("epoch begun", "epoch", id.String(), "sequence", e.last.Seq)
	return nil
}

// genesis writes the first records of a lineage: the root, and this replica as
// its member 0.
func (e *Engine) genesis() error {
	id, err := e.newEpoch(1, 0)
	if err != nil {
		return err
	}
	e.epoch.Store(&id)
	now := fs.TimeOf(e.o.Now())
	for _, m := range []fs.Mutation{
		&fs.Genesis{Lineage: e.lineage, Mode: rootMode, Time: now},
		e.firstMember(),
	} {
		if err := e.append(m, nil, [16]byte{}); err != nil {
			return err
		}
	}
	e.nextIno = 2 // 1 is the root's, in every epoch
	return nil
}

// rootMode lets root alone write to a new file system, as EFS has it.
const rootMode = 0o755

// StopWriting leaves the writer's role (or stays out of it) and returns when
// everything that was accepted is durable.
func (e *Engine) StopWriting(ctx context.Context, m Mode) error {
	if m == Writer {
		return errors.New("stop writing: the writer's role is entered with BeginWriting")
	}
	e.mu.Lock()
	e.mode.Store(int32(m))
	seq := e.last.Seq
	e.mu.Unlock()
	if e.Err() != nil {
		return nil // it has stopped already
	}
	return e.WaitCommitted(ctx, seq)
}

// AddMember registers a replica with the lineage, durably: from then on it may
// become a writer. Registering twice is fine.
func (e *Engine) AddMember(ctx context.Context, id string) error {
	e.mu.Lock()
	seq, err := e.addMember(id)
	e.mu.Unlock()
	if err != nil {
		return err
	}
	return e.WaitCommitted(ctx, seq)
}

func (e *Engine) addMember(id string) (uint64, error) {
	if err := e.writable(); err != nil {
		return 0, err
	}
	b, err := e.t.Setting(memberKey(id))
	if err != nil || b != nil {
		return e.last.Seq, err
	}
	n, err := e.t.CountSettings(memberPrefix)
	if err != nil {
		return 0, err
	}
	if n > fs.MaxMember {
		return 0, fmt.Errorf("a lineage has at most %d replicas over its life", fs.MaxMember+1)
	}
	err = e.append(&fs.Setting{Key: memberKey(id), Value: binary.BigEndian.AppendUint16(nil, uint16(n))}, nil, [16]byte{})
	return e.last.Seq, err
}
