package journal

import (
	"fmt"
	"hash/crc32"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// round is what one sync carries.
type round struct {
	batches   []*batch
	payloads  map[uint64]*segmentFile
	claim     uint64
	undurable int64 // bytes that become durable
}

// release lets go of the files of a round.
func (r *round) release(files *files) {
	for _, f := range r.payloads {
		files.release(f)
	}
	for _, b := range r.batches {
		files.release(b.file)
	}
}

// run is the writer goroutine.
func (j *Journal) run() {
	defer j.wg.Done()
	for {
		select {
		case <-j.quit:
			return
		case <-j.wake:
		case <-j.timer.C:
			j.mu.Lock()
			j.armed = false
			j.markDue = true
			j.mu.Unlock()
		}
		j.sync()
	}
}

// sync carries out one round, if there is anything to do.
func (j *Journal) sync() {
	j.ioMu.Lock()
	defer j.ioMu.Unlock()
	r := j.take()
	if r == nil {
		return
	}
	err := j.writeOut(r)
	j.mu.Lock()
	defer j.mu.Unlock()
	r.release(j.files)
	if err != nil {
		j.fail(fmt.Errorf("journal %s: nothing more is accepted until a restart: %w", j.o.Dir, err))
		return
	}
	j.publish(r)
}

// take cuts the batch being built and takes all that is to be written.
func (j *Journal) take() *round {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return nil
	}
	if j.building != nil {
		j.cut()
	}
	if len(j.queue) == 0 && j.markDue && j.claimed < j.durable.Seq {
		j.addMark()
	}
	if len(j.queue) == 0 && len(j.dirty) == 0 && !j.force {
		j.markDue = false
		return nil
	}
	r := &round{batches: j.queue, payloads: j.dirty, claim: j.durable.Seq, undurable: j.dirtySize}
	for _, b := range r.batches {
		r.undurable += b.size
	}
	j.inflight, j.queue = j.queue, nil
	j.dirty, j.dirtySize = map[uint64]*segmentFile{}, 0
	j.force, j.markDue = false, false
	j.started++
	return r
}

// addMark queues a batch that only claims; without room for it, the claim
// waits for the next record. mu is held, nothing is queued.
func (j *Journal) addMark() {
	if j.tail.ended || j.tail.next+blockSize > j.tail.size {
		if j.spare == nil {
			return
		}
		j.activate(j.last)
	}
	j.begin(kindMark)
	j.building.add(kindMark, payloadNone, fs.Addr{}, nil, 0)
	j.building.h.count = 1
	j.cut()
}

// writeOut writes and syncs. Payload segments sync at the same time: nothing
// counts as durable before all have.
func (j *Journal) writeOut(r *round) error {
	payloads := make(chan error, 1)
	if len(r.payloads) == 0 {
		payloads <- nil
	} else {
		go func() { payloads <- syncFiles(r.payloads) }()
	}
	err := j.writeBatches(r)
	return firstError(err, <-payloads)
}

func (j *Journal) writeBatches(r *round) error {
	touched := map[uint64]*segmentFile{}
	for _, b := range r.batches {
		if err := b.write(r.claim); err != nil {
			return err
		}
		touched[b.file.id] = b.file
	}
	j.mu.Lock()
	j.inflight = nil // they can be read from the file now
	j.mu.Unlock()
	return syncFiles(touched)
}

func (b *batch) write(claim uint64) error {
	if b.header != nil {
		if _, err := b.file.WriteAt(b.header.encode(), 0); err != nil {
			return fmt.Errorf("write header of %s: %w", b.file.name, err)
		}
	}
	b.h.claim = claim
	b.h.bodyCRC = crc32.Checksum(b.buf[batchHeaderSize:batchHeaderSize+int(b.h.bodyLen)], castagnoli)
	b.h.put(b.buf)
	if _, err := b.file.WriteAt(b.buf, b.offset); err != nil {
		return fmt.Errorf("write batch to %s: %w", b.file.name, err)
	}
	return nil
}

func syncFiles(files map[uint64]*segmentFile) error {
	for _, f := range files {
		if err := f.SyncData(); err != nil {
			return fmt.Errorf("sync %s: %w", f.name, err)
		}
	}
	return nil
}

// publish makes a finished round known; mu is held.
func (j *Journal) publish(r *round) {
	j.undurable -= r.undurable
	j.done++
	advanced := false
	for _, b := range r.batches {
		advanced = advanced || b.last != j.durable
		j.durable = b.last
		j.claimed = r.claim
	}
	if j.claimed < j.durable.Seq {
		j.arm()
	}
	if advanced {
		j.broadcast()
	} else {
		j.cond.Broadcast()
	}
}
