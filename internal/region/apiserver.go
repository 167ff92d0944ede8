package region

import (
	"log/slog"
	"net/http"
	"time"
)

// Bounds of connections to the API. Headers have headerPatience.
const (
	// bodyPatience is how long a request may take to arrive: 256 KiB, the
	// largest, at less than 10 KiB/s.
	bodyPatience = 30 * time.Second
	// idlePatience is how long a connection is kept between requests: SDKs ask
	// again within seconds while they wait for something.
	idlePatience = 2 * time.Minute
)

// apiServer serves the API. A client that sends nothing, or slowly, holds a
// connection for a bounded time; a request that has arrived may take as long as
// its work takes. Every request gets to the handler, OPTIONS * too, so that the
// audit log has it.
func apiServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{Handler: h, ErrorLog: quiet(log), ReadTimeout: bodyPatience, IdleTimeout: idlePatience, DisableGeneralOptionsHandler: true}
}
