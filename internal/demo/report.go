package demo

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Report is the outcome of the demonstration. Sections that were not reached
// are absent; nothing in it is computed from anything but measurements.
type Report struct {
	Started  time.Time `json:"started"`
	Steps    []Step    `json:"steps"`
	Tree     Tree      `json:"tree"`
	Lag      *Lag      `json:"lag_before_kill,omitempty"`
	Failover *Failover `json:"failover,omitempty"`
	Failback *Failback `json:"failback,omitempty"`
	Hashes   *Hashes   `json:"hashes,omitempty"`
	// Equal: both regions have the same history and content, and there are no
	// problems.
	Equal    bool     `json:"equal"`
	Problems []string `json:"problems"`
	Kept     *Kept    `json:"kept,omitempty"`
}

// Step is one step of the story.
type Step struct {
	Name    string  `json:"name"`
	Done    string  `json:"done"` // what was done
	Seconds float64 `json:"seconds"`
	// BytesWire is what the destination received from the other region during
	// the step, compressed, with heartbeats.
	BytesWire uint64 `json:"bytes_wire"`
}

func (s *Step) did(format string, args ...any) { s.Done = fmt.Sprintf(format, args...) }

// Tree is what was copied in.
type Tree struct {
	From  string `json:"from"`
	Files int64  `json:"files"` // regular files
	Bytes int64  `json:"bytes"` // of their content
}

// Lag is how far the destination was behind when it was last asked before the
// kill.
type Lag struct {
	Seconds float64 `json:"seconds"`
	Records uint64  `json:"records"`
	Bytes   uint64  `json:"bytes"`
}

// Failover is what the kill cost.
type Failover struct {
	// SecondsToWritable is from the call of DeleteReplicationConfiguration to
	// the first accepted change.
	SecondsToWritable float64 `json:"seconds_to_writable"`
	AckedAtKill       int     `json:"acked_at_kill"` // files whose writing was acknowledged
	Lost              int     `json:"lost"`          // of these, not there, or not whole, after the failover
	Salvaged          int     `json:"salvaged"`      // of the lost, in the salvage of the old primary
	SalvageRecords    int     `json:"salvage_records"`
}

// Failback is what the way home cost.
type Failback struct {
	// BytesChanged is the content written at the secondary since the failover,
	// and that of the old primary's salvage, which had to be undone.
	BytesChanged uint64 `json:"bytes_changed"`
	// BytesWire is what the old primary received until it had everything.
	BytesWire uint64 `json:"bytes_wire"`
	// Transfer is "resync", or "stream" when the old primary had nothing that
	// the secondary did not have.
	Transfer string `json:"transfer"`
}

// Hashes are those of the whole content of both regions at one position.
type Hashes struct {
	Position  string `json:"position"`
	Primary   string `json:"primary"`
	Secondary string `json:"secondary"`
	Keys      uint64 `json:"keys"`
}

// Kept tells how to look around in what is still running.
type Kept struct {
	Dir     string       `json:"dir"`
	Regions []KeptRegion `json:"regions"`
}

// KeptRegion is one region of Kept.
type KeptRegion struct {
	Region       string   `json:"region"`
	PID          int      `json:"pid"`
	FileSystemID string   `json:"file_system_id"`
	NFS          string   `json:"nfs"`
	Endpoint     string   `json:"endpoint"`
	Log          string   `json:"log"`
	Exports      []string `json:"exports"`
}

// Text writes the report for people.
func (r *Report) Text(w io.Writer) {
	line := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	line("")
	line("%-17s %10s %12s  %s", "step", "time", "wire", "done")
	for _, s := range r.Steps {
		line("%-17s %10s %12s  %s", s.Name, seconds(s.Seconds), size(s.BytesWire), s.Done)
	}
	line("")
	line("tree       %d files, %s, from %s", r.Tree.Files, size(uint64(r.Tree.Bytes)), r.Tree.From)
	if l := r.Lag; l != nil {
		line("lag        %s, %d records, %s, when last asked before the kill", seconds(l.Seconds), l.Records, size(l.Bytes))
	}
	if f := r.Failover; f != nil {
		line("failover   writable %s after the call; %d writes acknowledged at the kill, %d lost, %d of them salvaged (%d records)",
			seconds(f.SecondsToWritable), f.AckedAtKill, f.Lost, f.Salvaged, f.SalvageRecords)
	}
	if f := r.Failback; f != nil {
		line("failback   %s changed, %s over the wire (%s), tree %s", size(f.BytesChanged), size(f.BytesWire), f.Transfer, size(uint64(r.Tree.Bytes)))
	}
	if h := r.Hashes; h != nil {
		line("hashes     %s  %s", h.Primary, primary)
		line("           %s  %s", h.Secondary, secondary)
		line("           of %d keys at position %s", h.Keys, h.Position)
	}
	r.outcome(line)
	r.Kept.text(line)
}

func (r *Report) outcome(line func(string, ...any)) {
	line("")
	for _, p := range r.Problems {
		line("PROBLEM    %s", strings.ReplaceAll(p, "\n", "\n           "))
	}
	if r.Equal {
		line("Both regions are equal. Nothing was lost in silence.")
	}
}

func (k *Kept) text(line func(string, ...any)) {
	if k == nil {
		return
	}
	line("")
	line("Both regions are still running. Their files are in %s.", k.Dir)
	var pids []string
	for _, r := range k.Regions {
		pids = append(pids, fmt.Sprint(r.PID))
		host, port, _ := strings.Cut(r.NFS, ":")
		line("")
		line("  # %s, log in %s", r.Region, r.Log)
		line("  holdfast ls -l nfs://%s/%s/", r.NFS, r.FileSystemID)
		line("  sudo mount -t nfs4 -o vers=4.1,port=%s %s:/%s /mnt", port, host, r.FileSystemID)
		for _, e := range r.Exports {
			line("  %s", e)
		}
		line("  aws efs describe-file-systems --endpoint-url %s", r.Endpoint)
	}
	line("")
	line("To end it: kill %s && rm -r %s", strings.Join(pids, " "), k.Dir)
}

func seconds(s float64) string {
	if s < 1 {
		return fmt.Sprintf("%.0f ms", s*1000)
	}
	return fmt.Sprintf("%.1f s", s)
}

// size is a number of bytes in decimal units.
func size(n uint64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	v, i := float64(n), 0
	for ; v >= 1000 && i < len(units)-1; i++ {
		v /= 1000
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}
