package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/engine"
	"github.com/holdfast-fs/holdfast/internal/seal"
)

func newCheckCommand() *cobra.Command {
	var fast, repair bool
	var keys func() (seal.Keeper, error)
	c := &cobra.Command{
		Use:   "check DATA_DIR",
		Short: "Check a stopped region's file systems; changes nothing without --repair",
		Long: "Checks every file system in a region's data directory: segments, checksums, chain and payloads of its journal,\n" +
			"the tree against itself (names, link counts, extents, counters) and against the journal. The region must be stopped.\n" +
			"Exit status 1 when anything is damaged, or was not looked at for lack of its key. What to do then: see docs/operations.md.\n" +
			"With --repair, what follows from the rest of a tree (link counts, counters, lists, the second form of directory entries) is\n" +
			"written anew, and each change is told. Lost or damaged data is not made up: another region has it, or a backup.",
		Example: "  holdfast check /var/lib/holdfast/data\n  holdfast check --repair /var/lib/holdfast/data\n" +
			"  holdfast check --config /etc/holdfast/holdfast.yaml /var/lib/holdfast/data   # with encrypted file systems",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			unwrap, err := keys()
			if err != nil {
				return err
			}
			d := disk.Real()
			dir := filepath.Join(args[0], "file-systems")
			names, err := d.List(dir)
			if err != nil {
				return fmt.Errorf("%s is no data directory of a region: %w", args[0], err)
			}
			lock, err := disk.Lock(d, args[0])
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, lock.Close()) }()
			sort.Strings(names)
			damaged, locked := 0, 0
			for _, id := range names {
				if !strings.HasPrefix(id, "fs-") {
					continue
				}
				o := engine.Options{Keys: unwrap, FS: d, Dir: filepath.Join(dir, id), ID: id, Now: time.Now, Rand: rand.Reader,
					Clean: engine.CleanOptions{Off: true}, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))}
				r, err := engine.Check(o, !fast)
				if errors.Is(err, seal.ErrLocked) {
					fmt.Fprintf(cmd.OutOrStdout(), "%s: NOT LOOKED AT: %s\n", id, err)
					locked++
					continue
				}
				if err != nil {
					r.Problems = append(r.Problems, err.Error())
				}
				printCheck(cmd, id, &r)
				if repair && len(r.Problems) > 0 {
					r = repairOne(cmd, id, o, !fast)
				}
				if len(r.Problems) > 0 {
					damaged++
				}
			}
			return checkResult(damaged, locked, repair)
		},
	}
	keys = keysFlag(c)
	c.Flags().BoolVar(&repair, "repair", false, "write anew what follows from the rest of a tree")
	c.Flags().BoolVar(&fast, "fast", false, "do not read the bytes of every extent")
	return c
}

func checkResult(damaged, locked int, repair bool) error {
	var errs []error
	switch {
	case damaged > 0 && repair:
		errs = append(errs, fmt.Errorf("%d file systems are still damaged; see the guide, under damage", damaged))
	case damaged > 0:
		errs = append(errs, fmt.Errorf("%d file systems are damaged; nothing was changed", damaged))
	}
	if locked > 0 {
		errs = append(errs, fmt.Errorf("%d encrypted file systems were not looked at: their keys are needed", locked))
	}
	return errors.Join(errs...)
}

func printCheck(cmd *cobra.Command, id string, r *engine.CheckReport) {
	w := cmd.OutOrStdout()
	if r.Empty {
		fmt.Fprintf(w, "%s: has received nothing yet\n", id)
		return
	}
	fmt.Fprintf(w, "%s: journal to %d (%d records, %d payloads); tree at %d (%d files, %d extents, %d bytes; %d extents read)\n",
		id, r.Journal.Last.Seq, r.Journal.Records, r.Journal.Payloads, r.Flushed.Seq, r.Tree.Files, r.Tree.Extents, r.Tree.BytesUsed, r.Tree.PayloadsRead)
	for _, p := range r.Problems {
		fmt.Fprintf(w, "%s: DAMAGED: %s\n", id, p)
	}
	if len(r.Problems) == 0 {
		fmt.Fprintf(w, "%s: everything verifies\n", id)
	}
}

// repairOne mends what it can, says what it did, and checks again.
func repairOne(cmd *cobra.Command, id string, o engine.Options, payloads bool) engine.CheckReport {
	w := cmd.OutOrStdout()
	err := engine.Repair(cmd.Context(), o, func(s string) { fmt.Fprintf(w, "%s: REPAIRED: %s\n", id, s) })
	if err != nil {
		fmt.Fprintf(w, "%s: not repaired: %s\n", id, err)
	}
	r, err := engine.Check(o, payloads)
	if err != nil {
		r.Problems = append(r.Problems, err.Error())
	}
	printCheck(cmd, id, &r)
	return r
}
