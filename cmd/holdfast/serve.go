package main

import (
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/holdfast-fs/holdfast/internal/config"
	"github.com/holdfast-fs/holdfast/internal/region"
)

func newServeCommand() *cobra.Command {
	var file, level string
	var asJSON, noSettings bool
	c := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Run a region until SIGTERM or SIGINT",
		Long:  "Runs a region: the EFS API, NFS, the listener for the other regions, metrics and health.\nSIGTERM ends it cleanly: what was accepted is made durable first.\nSIGHUP opens the audit log (api.audit_log) anew, after it was moved away.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := newLogger(level, asJSON)
			if err != nil {
				return err
			}
			cfg, err := loadConfig(file, noSettings)
			if err != nil {
				return err
			}
			r, err := region.New(cfg, log)
			if err != nil {
				return fmt.Errorf("region %s did not start: %w", cfg.Region, err)
			}
			defer onHangUp(r.ReopenLogs)()
			return r.Run(cmd.Context())
		},
	}
	c.Flags().StringVar(&file, "config", "", "the region's configuration file (written by holdfast init)")
	c.Flags().StringVar(&level, "log-level", "info", "debug, info, warn or error")
	c.Flags().BoolVar(&asJSON, "log-json", false, "write log lines as JSON")
	c.Flags().BoolVar(&noSettings, "no-settings", false, "what is set on sources is not copied to their destinations, as with replication.copy_settings: false")
	_ = c.MarkFlagRequired("config") // fails only for a flag that does not exist
	return c
}

// loadConfig reads the configuration; noSettings is the flag of that name.
func loadConfig(file string, noSettings bool) (*config.Config, error) {
	cfg, err := config.Load(file)
	if err == nil && noSettings {
		copies := false
		cfg.Replication.CopySettings = &copies
	}
	return cfg, err
}

// onHangUp calls fn at every SIGHUP until the returned function is called.
func onHangUp(fn func()) (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range signals {
			fn()
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		<-done
	}
}

func newLogger(level string, asJSON bool) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level %q: want debug, info, warn or error", level)
	}
	o := &slog.HandlerOptions{Level: l}
	if asJSON {
		return slog.New(slog.NewJSONHandler(os.Stderr, o)), nil
	}
	return slog.New(slog.NewTextHandler(os.Stderr, o)), nil
}
