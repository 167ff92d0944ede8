package nfs

import (
	"context"
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/state"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// notify tells the clients whose turn it is to lock. Each is told by itself: one
// that does not answer must not keep others waiting. What cannot be told is not
// tried again, as the client asks by itself.
func (s *Server) notify() {
	byClient := map[uint64][]state.Notice{}
	for _, n := range s.table.TakeNotices() {
		byClient[n.ClientID] = append(byClient[n.ClientID], n)
	}
	for _, list := range byClient {
		go s.notifyClient(list)
	}
}

// notifyClient has callbackTimeout for all notices of a client, so that the
// locks are not kept for one that is gone.
func (s *Server) notifyClient(list []state.Notice) {
	ctx, cancel := context.WithTimeout(context.Background(), callbackTimeout)
	defer cancel()
	for _, n := range list {
		err := s.notifyLock(ctx, n)
		if err != nil {
			s.log.Debug("nfs client not told of a lock", "export", n.File.FS, "ino", n.File.Ino, "clientid", n.ClientID, "err", err)
		}
		if patience := s.table.Noticed(n, err == nil, s.cfg.Clock()); patience > 0 {
			time.AfterFunc(patience+time.Millisecond, func() {
				s.table.Tidy(n.File, s.cfg.Clock())
				s.notify() // the next
			})
		}
	}
}

// notifyLock is CB_NOTIFY_LOCK (RFC 8881 §20.11).
func (s *Server) notifyLock(ctx context.Context, n state.Notice) error {
	h, ok := s.handleOf(n.File)
	if !ok {
		return fs.ErrStale
	}
	return s.back.call(ctx, n.ClientID, xdr.OpCBNotifyLock, func(w *xdr.Writer) {
		w.Opaque(h)
		w.Uint64(n.ClientID)
		w.String(n.Owner)
	}, nil)
}
