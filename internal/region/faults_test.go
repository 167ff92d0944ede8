package region

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/engine"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/replica"
)

const (
	simSeeds = 10
	simSteps = 80
)

// TestTwoRegionsUnderFaults lets two regions with the real engine and the real
// replication live through faults that a seed draws, and checks what they
// promise after each step. HOLDFAST_SEED runs one seed, HOLDFAST_SEEDS so many,
// from HOLDFAST_FIRST_SEED on. The steps are drawn from the seed; what happens
// within a step may come in another order each time, so a failing seed may
// have to be run a few times.
func TestTwoRegionsUnderFaults(t *testing.T) {
	c := newCoverage()
	t.Cleanup(func() { c.report(t) })
	if s := os.Getenv("HOLDFAST_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		simulate(t, seed, c)
		return
	}
	seeds, first := envInt(t, "HOLDFAST_SEEDS", simSeeds), envInt(t, "HOLDFAST_FIRST_SEED", 0)
	if testing.Short() {
		seeds = min(seeds, 2)
	}
	for seed := first; seed < first+seeds; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			simulate(t, uint64(seed), c)
		})
	}
}

func envInt(t *testing.T, name string, def int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return def
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

func simulate(t *testing.T, seed uint64, c *coverage) {
	w := newSimWorld(t, seed, c)
	defer w.end()
	w.work(w.rng.IntN(150))
	if w.rng.IntN(2) == 0 {
		w.nap(w.source())
	}
	w.newDest()
	for range simSteps {
		w.step()
		c.add(&c.steps)
	}
	w.converge()
	c.add(&c.seeds)
}

// end lets go of everything when a test fails half way.
func (w *simWorld) end() {
	for _, s := range w.site {
		if s.eng != nil {
			w.net.isolate(s.n)
			s.stopFollowing()
			s.server.Close()
			_ = s.web.Close()
			_ = s.eng.Close() // the failure is told already
		}
	}
}

// action is something that may happen.
type action struct {
	weight int
	may    bool
	do     func()
}

func (w *simWorld) step() {
	w.t.Helper()
	w.deaths()
	s, d := w.source(), w.dest()
	both := s.eng != nil && d.eng != nil
	joined := w.repl != nil
	// Disks fill up while records flow, not during transfers: a store that is
	// opened without any room is not given up (docs/reliability.md).
	actions := []action{
		{30, s.eng != nil, func() { w.work(1 + w.rng.IntN(25)) }},
		{10, both && joined, w.catchUp},
		{6, true, func() { time.Sleep(time.Duration(w.rng.IntN(4000)) * time.Microsecond) }},
		{8, s.eng != nil, func() { w.crashSoon(s) }},
		{8, d.eng != nil, func() { w.crashSoon(d) }},
		{25, s.eng == nil, func() { w.reopen(s) }},
		{25, d.eng == nil, func() { w.reopen(d) }},
		{10, s.eng != nil && !s.disk.isFull(), func() { w.clean(s) }},
		{10, d.eng != nil && !d.disk.isFull(), func() { w.clean(d) }},
		{5, true, w.disturbLine},
		{8, true, func() { w.note("the line heals"); w.net.heal() }},
		{4, s.eng != nil && (!joined || w.prefix), func() { w.note("region %d fills up", s.n); s.disk.setFull(true) }},
		{3, d.eng != nil && joined && w.prefix, w.fillDest},
		{2, true, w.jumpClock},
		{5, joined && w.prefix && d.eng != nil, w.failover},
		{15, joined && w.prefix && d.eng != nil && s.eng == nil, w.failover},
		{40, both && w.transferring(), w.disturbTransfer},
		{4, joined && w.prefix && both, w.switchover},
		{2, joined && both, w.replaceDest},
		{2, joined && w.prefix && both, w.impostor},
		{20, !joined && d.eng != nil && d.writer, w.zombie},
		{6, !joined && d.eng != nil && d.writer && w.net.reachable(), w.learn},
		{12, !joined && both, w.failback},
		{15, !joined && s.eng != nil, func() { w.nap(s) }},
		{10, !joined && d.eng != nil && d.writer, func() { w.nap(d) }},
	}
	total := 0
	for _, a := range actions {
		if a.may {
			total += a.weight
		}
	}
	n := w.rng.IntN(total)
	for _, a := range actions {
		if !a.may {
			continue
		}
		if n -= a.weight; n < 0 {
			a.do()
			break
		}
	}
	w.watch()
}

// clean lets a region's cleaner take all that it may. A crash may come meanwhile.
func (w *simWorld) clean(s *simSite) {
	w.t.Helper()
	w.note("region %d cleans its journal", s.n)
	before := s.eng.CleanStats()
	if err := s.eng.Clean(ctx); err != nil {
		if errors.Is(err, fs.ErrNoSpace) || disk.IsNoSpace(err) {
			// The disk is full, or was when a flush of the tree began.
			w.note("region %d has no room to clean", s.n)
			return
		}
		w.ok("clean", err)
	}
	if s.eng.CleanStats().Segments > before.Segments {
		w.count(sawCleaned)
		if w.transferring() {
			w.count(sawCleanedInTransfer)
		}
	}
}

// deaths carries through what the disks have decided: a machine whose copy was
// taken is dead.
func (w *simWorld) deaths() {
	for _, s := range w.site {
		if s.eng != nil && s.disk.dead() {
			w.crash(s)
		}
	}
}

func (w *simWorld) crashSoon(s *simSite) {
	if w.rng.IntN(2) == 0 {
		s.disk.arm(1 + w.rng.IntN(60))
		w.note("region %d is to crash", s.n)
		if w.source().eng != nil {
			w.work(w.rng.IntN(20))
		}
	}
	w.crash(s)
	if w.rng.IntN(3) > 0 {
		w.reopen(s)
	}
}

// crash ends a region at this moment.
func (w *simWorld) crash(s *simSite) {
	w.t.Helper()
	s.kept = fs.Pos{}
	if s == w.dest() {
		w.countCrashOfDest(s)
	} else {
		w.count(sawCrashSource)
	}
	w.note("region %d crashes", s.n)
	s.crash()
	if w.site[0].eng == nil && w.site[1].eng == nil {
		w.count(sawCrashBoth)
	}
}

func (w *simWorld) countCrashOfDest(s *simSite) {
	if w.repl == nil {
		w.count(sawCrashOldInFailove)
		return
	}
	w.count(sawCrashDest)
	if pos := s.eng.Durable(); w.prefix && !s.disk.dead() {
		s.kept = pos
	}
	st := s.follower.Status()
	switch {
	case st.Transferring && st.Transfer == replica.TransferBootstrap:
		w.count(sawCrashInBootstrap)
	case st.Transferring && st.Transfer == replica.TransferResync:
		w.count(sawCrashInResync)
	}
}

// reopen starts a region again; what it may do then is what its control plane
// would let it do.
func (w *simWorld) reopen(s *simSite) {
	w.t.Helper()
	for w.rng.IntN(4) == 0 {
		w.note("a crash during recovery of region %d", s.n)
		w.count(sawCrashInRecovery)
		s.disk.arm(1 + w.rng.IntN(40))
		e, err := engine.Open(ctx, s.o)
		w.ok("open", err)
		w.ok("close", e.Close())
		s.use(s.disk.take())
	}
	s.open()
	w.note("region %d is up at %d", s.n, s.eng.LastApplied())
	switch {
	case s == w.source():
		w.resume(s)
	case w.repl != nil:
		if !s.has(s.kept) {
			w.fail("a destination", fmt.Errorf("region %d held %s durably and is at %s", s.n, s.kept, s.eng.Durable()))
		}
		w.followAgain(s)
	default:
		w.oldIsBack(s)
	}
}

// resume lets the authoritative region go on after a start.
func (w *simWorld) resume(s *simSite) {
	w.t.Helper()
	w.mustHaveAcked(s)
	seq := s.eng.LastApplied()
	s.beginWriting()
	w.rollback(seq)
	s.ack()
	w.compare()
}

func (w *simWorld) mustHaveAcked(s *simSite) {
	w.t.Helper()
	if !s.has(s.acked) {
		w.fail("acknowledged", fmt.Errorf("region %d recovered %s, but %s was acknowledged", s.n, s.eng.Durable(), s.acked))
	}
}

func (w *simWorld) followAgain(s *simSite) {
	if s.eng.StageName() != "" {
		w.count(sawStageResumed)
	}
	s.follow(w.lineage, w.source(), w.repl.name)
}

// oldIsBack: an old primary asks its peer before it writes, and goes on
// without an answer.
func (w *simWorld) oldIsBack(s *simSite) {
	w.t.Helper()
	w.mustHaveAcked(s)
	switch {
	case !s.writer:
	case w.net.reachable():
		w.learn()
	default:
		s.beginWriting()
		s.eng.GraceEnded()
		w.count(sawZombieRestart)
		w.note("the old primary goes on in %s", s.eng.Epoch())
		s.ack()
	}
}

func (w *simWorld) disturbLine() {
	st := replica.Status{}
	if f := w.dest().follower; f != nil {
		st = f.Status()
	}
	switch w.rng.IntN(5) {
	case 0, 1:
		w.note("the line is cut")
		w.count(sawCut)
		if st.Transferring {
			w.count(sawCutInTransfer)
		}
		w.net.set(func(n *simNet) { n.down = true })
	case 2:
		i := w.rng.IntN(2)
		w.note("nothing that region %d says arrives", i)
		w.count(sawOneWay)
		w.net.set(func(n *simNet) { n.mute[i] = true })
	case 3:
		w.note("the line is slow")
		w.count(sawSlow)
		w.net.set(func(n *simNet) { n.slow = true })
	case 4:
		w.note("connections break")
		w.count(sawBrittle)
		w.net.set(func(n *simNet) { n.brittle = 1 + w.rng.IntN(10); n.breakAll() })
	}
}

func (w *simWorld) transferring() bool {
	f := w.dest().follower
	return f != nil && f.Status().Transferring
}

// disturbTransfer cuts or ends something while a tree is on its way.
func (w *simWorld) disturbTransfer() {
	switch w.rng.IntN(5) {
	case 0:
		w.note("the line is cut during a transfer")
		w.count(sawCutInTransfer)
		w.net.set(func(n *simNet) { n.breakAll() })
	case 1:
		w.disturbLine()
	case 2:
		w.crashSoon(w.source())
	case 3:
		w.crashSoon(w.dest())
	case 4:
		w.work(1 + w.rng.IntN(10))
	}
}

func (w *simWorld) jumpClock() {
	i := w.rng.IntN(2)
	d := time.Duration(w.rng.IntN(1200)-600) * time.Second
	w.note("the clock of region %d is off by %v", i, d)
	w.count(sawClockJump)
	w.site[i].offset.Store(int64(d))
	if i == w.auth {
		w.refOffset = d
	}
	if w.dest().off() < w.source().off()-time.Minute {
		w.count(sawClockBehind)
	}
}

// fillDest: the destination's disk is full for a while; then there is room.
func (w *simWorld) fillDest() {
	w.t.Helper()
	d := w.dest()
	w.note("region %d fills up", d.n)
	d.disk.setFull(true)
	if w.source().eng != nil {
		w.work(10 + w.rng.IntN(30))
	}
	time.Sleep(time.Duration(w.rng.IntN(10)) * time.Millisecond)
	if d.follower.Status().Problem != nil {
		w.count(sawFullDest)
	}
	d.disk.setFull(false)
	if err := d.eng.Err(); err != nil {
		// The store could not even write what names its tables. It says so, and
		// a restart with room again mends it.
		w.note("region %d stopped: %v", d.n, err)
		w.count(sawStopped)
		w.crash(d)
		w.reopen(d)
	}
}

// catchUp waits for the destination, if nothing stands in the way.
func (w *simWorld) catchUp() {
	w.t.Helper()
	s, d := w.source(), w.dest()
	s.disk.arm(0)
	d.disk.arm(0)
	w.deaths()
	if s.eng == nil || d.eng == nil || !w.net.reachable() {
		return
	}
	s.disk.setFull(false)
	d.disk.setFull(false)
	w.settle()
	w.ok("sync", s.eng.Sync(ctx))
	w.await("the destination catches up", func() bool { return d.eng.Durable() == s.eng.Durable() })
	w.note("region %d has caught up at %d", d.n, d.eng.Durable().Seq)
}

// healAll brings both regions up and ends all faults.
func (w *simWorld) healAll() {
	w.t.Helper()
	w.net.heal()
	for _, s := range w.site {
		s.disk.setFull(false)
		s.disk.arm(0)
	}
	w.deaths()
	for _, s := range []*simSite{w.source(), w.dest()} {
		if s.eng == nil {
			w.reopen(s)
		}
	}
}

// newDest gives the authoritative region a destination on an empty disk.
func (w *simWorld) newDest() {
	w.t.Helper()
	d := w.dest()
	w.ok("make a place", engine.CreateEmpty(d.o))
	d.open()
	d.acked, d.kept, d.writer = fs.Pos{}, fs.Pos{}, false
	w.begin()
}

// begin makes the other region follow the authoritative one.
func (w *simWorld) begin() {
	w.t.Helper()
	s, d := w.source(), w.dest()
	s.disk.setFull(false)
	w.ok("add a member", s.eng.AddMember(ctx, d.id))
	s.ack()
	w.ids++
	w.lineage = s.eng.Lineage()
	w.prefix = false
	w.setReplication(&simReplication{src: s.n, name: fmt.Sprintf("repl-%d", w.ids), fileSystem: s.id})
	w.note("region %d (%s) shall follow region %d (%s)", d.n, d.id, s.n, s.id)
	d.follow(w.lineage, s, w.repl.name)
}

// calm disarms what would end a region within the next step.
func (w *simWorld) calm() (both bool) {
	for _, s := range w.site {
		s.disk.arm(0)
	}
	w.deaths()
	return w.site[0].eng != nil && w.site[1].eng != nil
}

// failover promotes the destination at what it has. The old primary may be
// dead, or alive and ignorant.
func (w *simWorld) failover() {
	w.t.Helper()
	w.calm()
	s, d := w.source(), w.dest()
	if d.eng == nil {
		return
	}
	w.watch() // up to here it is a prefix
	d.stopFollowing()
	d.disk.setFull(false)
	w.setReplication(nil)
	w.count(sawFailover)
	if s.eng == nil {
		w.count(sawSourceDead)
	} else {
		w.m.Abandon()
	}
	if w.resynced {
		w.count(sawFailoverBack)
	}
	if w.rng.IntN(3) == 0 {
		w.note("the line is cut")
		w.net.set(func(n *simNet) { n.down = true })
	}
	dies := w.rng.IntN(4) == 0
	if dies {
		w.count(sawCrashInPromotion)
		d.disk.arm(1 + w.rng.IntN(12))
	}
	seq := d.eng.LastApplied()
	w.note("failover to region %d at %d", d.n, seq)
	w.auth, w.prefix, w.diverged = d.n, false, nil
	d.acked = fs.Pos{}
	d.beginWriting()
	if lost := w.rollback(seq); lost > 0 {
		w.note("%d changes are lost", lost)
		w.count(sawFailoverLost)
	} else {
		w.count(sawFailoverNoLoss)
	}
	d.ack()
	w.compare()
	if dies {
		w.crash(d)
		w.reopen(d)
	}
}

// zombie: the old primary has not heard of its successor and takes changes.
func (w *simWorld) zombie() {
	w.t.Helper()
	o := w.dest()
	o.disk.setFull(false)
	for range 1 + w.rng.IntN(6) {
		w.zombies++
		w.ok("a change at the old primary", w.zombieChange(o.eng, fs.Name(fmt.Sprintf("zombie-%d", w.zombies))))
	}
	w.count(sawZombie)
	w.note("the old primary goes on to %d", o.eng.LastApplied())
	o.ack()
}

func (w *simWorld) zombieChange(e *engine.Engine, name fs.Name) error {
	mode := uint32(0o644)
	if w.rng.IntN(3) == 0 {
		var victim fs.Name
		if _, err := e.ReadDir(fs.RootIno, 0, func(d fs.DirEntry) bool { victim = d.Name; return w.rng.IntN(3) > 0 }); err != nil {
			return err
		}
		if victim != "" {
			_, err := e.Rename(ctx, &fs.RenameRequest{From: fs.RootIno, FromName: victim, To: fs.RootIno, ToName: name})
			return err
		}
	}
	f, err := e.Create(ctx, &fs.CreateRequest{Parent: fs.RootIno, Name: name, Type: fs.TypeRegular, Attrs: fs.AttrChange{Mode: &mode}})
	if err != nil {
		return err
	}
	b := make([]byte, 1+w.rng.IntN(60_000))
	for i := range b {
		b[i] = byte(w.rng.Uint32())
	}
	_, err = e.Write(ctx, &fs.WriteRequest{Ino: f.Attr.Ino, Data: b})
	return err
}

// learn: the old primary hears that it was superseded.
func (w *simWorld) learn() {
	w.t.Helper()
	o := w.dest()
	w.ok("stop writing", o.eng.StopWriting(ctx, engine.ReadOnly))
	o.writer = false
	w.count(sawLearned)
	w.note("region %d learns that it was superseded", o.n)
}

// failback makes the old primary the destination: it is resynchronised, or
// made anew.
func (w *simWorld) failback() {
	w.t.Helper()
	if !w.calm() {
		return
	}
	o := w.dest()
	o.disk.setFull(false)
	if w.rng.IntN(8) == 0 {
		w.note("the old primary is replaced")
		w.count(sawReplacedOld)
		o.shut()
		o.format()
		w.newDest()
		return
	}
	w.ok("stop writing", o.eng.StopWriting(ctx, engine.ReadOnly))
	o.writer = false
	w.diverge()
	w.resynced = true
	w.begin()
}

// switchover is planned: nothing may be lost, and nothing is transferred.
func (w *simWorld) switchover() {
	w.t.Helper()
	w.healAll()
	s, d := w.source(), w.dest()
	w.note("switchover")
	w.ok("stop writing", s.eng.StopWriting(ctx, engine.Waiting))
	last := s.eng.Durable()
	w.await("the destination has everything", func() bool { return d.eng.Durable() == last })
	if !d.has(s.acked) {
		w.fail("switchover", fmt.Errorf("%s was acknowledged, the destination does not have it", s.acked))
	}
	w.m.Abandon()
	d.stopFollowing()
	w.setReplication(nil)
	w.ok("stop writing", s.eng.StopWriting(ctx, engine.ReadOnly))
	s.writer = false
	w.auth = d.n
	d.acked = fs.Pos{}
	d.beginWriting()
	w.goOn(w.m.Ref)
	d.ack()
	w.compare()
	w.diverge()
	if n := len(w.diverged.lost); n > 0 {
		w.fail("switchover", fmt.Errorf("%d records were lost", n))
	}
	w.begin()
	w.catchUp()
	if k := w.dest().follower.Status().Transfer; k != "" && !w.neglect {
		w.fail("switchover", fmt.Errorf("it needed a %s", k))
	}
	w.count(sawSwitchover)
}

// replaceDest: the destination's machine is replaced by an empty one.
func (w *simWorld) replaceDest() {
	w.t.Helper()
	if !w.calm() {
		return
	}
	d := w.dest()
	w.note("region %d is replaced by an empty one", d.n)
	w.count(sawReplacedDest)
	d.shut()
	w.setReplication(nil)
	w.diverged = nil
	d.format()
	w.newDest()
}

// impostor: where the source was, something answers that is empty or holds
// other data. The destination keeps what it has and says why.
func (w *simWorld) impostor() {
	w.t.Helper()
	w.healAll()
	s, d := w.source(), w.dest()
	o := s.o
	o.FS, o.ID, o.Dir = disk.NewMem(), "fs-impostor", "/impostor"
	w.ok("make a place", engine.CreateEmpty(o))
	fake, err := engine.Open(ctx, o)
	if w.rng.IntN(2) == 0 {
		w.count(sawEmptySource)
	} else {
		w.count(sawOtherSource)
		w.ok("open", err)
		w.ok("close", fake.Close())
		fake, err = engine.Create(ctx, o)
		w.ok("create", err)
		w.ok("begin writing", fake.BeginWriting(ctx))
		for range 20 {
			w.zombies++
			w.ok("create", w.zombieChange(fake, fs.Name(fmt.Sprint(w.zombies))))
		}
		err = fake.Sync(ctx)
	}
	w.ok("an impostor", err)
	w.note("something else answers for region %d, at %d", s.n, fake.LastApplied())
	before := d.eng.Durable()
	s.setImpostor(fake)
	w.net.set(func(n *simNet) { n.breakAll() })
	w.await("the destination stands still and says so", func() bool { return d.follower.Status().Err != nil })
	if d.eng.Err() != nil || d.eng.Durable().Seq < before.Seq || !s.has(d.eng.Durable()) || d.eng.Lineage() != w.lineage {
		w.fail("impostor", errors.New("the destination followed it"))
	}
	s.setImpostor(nil)
	w.net.set(func(n *simNet) { n.breakAll() })
	// A request may be under way; the engine's own locks see to the rest.
	w.ok("close", fake.Close())
}
