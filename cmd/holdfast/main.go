// Command holdfast is a replicated, elastic network file system: the server of
// a region, its tools and its demonstration.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := newRootCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "holdfast: "+err.Error())
		var e exitError
		if errors.As(err, &e) {
			os.Exit(e.code)
		}
		os.Exit(1)
	}
}

// exitError carries an exit status other than 1.
type exitError struct {
	code int
	err  error
}

func (e exitError) Error() string { return e.err.Error() }
func (e exitError) Unwrap() error { return e.err }

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "holdfast",
		Short:         "A shared file system that survives the loss of a region",
		Long:          "Holdfast serves elastic file systems over NFSv4.1, steered through the API of Amazon EFS,\nand replicates them between regions: failover in milliseconds, failback that loses nothing in silence.",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(newInitCommand(), newServeCommand(), newCheckCommand(), newJournalCommand(), newSalvageCommand(),
		newLsCommand(), newCatCommand(), newPutCommand(), newGetCommand(), newDemoCommand())
	return root
}
