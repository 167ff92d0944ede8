package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// closeTargets closes and drops the mount targets that are to go.
func (w *worker) closeTargets(ctx context.Context, v view) error {
	var errs []error
	for _, t := range v.targets {
		if t.State != Deleting {
			continue
		}
		if err := w.closeTarget(ctx, t.ID); err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, w.c.update(func(tx *tx) error {
			tx.drop(kindMountTarget, t.ID)
			return nil
		}))
	}
	return errors.Join(errs...)
}

func (w *worker) closeTarget(ctx context.Context, id string) error {
	if err := w.c.cfg.Listeners.Close(ctx, id); err != nil {
		err = fmt.Errorf("close mount target %s: %w", id, err)
		w.c.publish(w.id, func(l *live) { l.targets[id] = err })
		return err
	}
	delete(w.listening, id)
	w.c.publish(w.id, func(l *live) { delete(l.listening, id); delete(l.targets, id) })
	return nil
}

// openTargets lets every mount target listen that does not yet, or to others.
func (w *worker) openTargets(ctx context.Context, v view) error {
	var errs []error
	for _, t := range v.targets {
		if t.State == Deleting {
			continue
		}
		if admit := w.c.admission(t); w.listening[t.ID] != admit.String() {
			if err := w.openTarget(ctx, t, admit); err != nil {
				errs = append(errs, err)
				continue
			}
		}
		if t.State == Creating {
			errs = append(errs, w.targetAvailable(t.ID))
		}
	}
	return errors.Join(errs...)
}

func (w *worker) openTarget(ctx context.Context, t *MountTarget, admit Admission) error {
	err := w.c.cfg.Listeners.Listen(ctx, t.ID, t.FileSystemID, t.Addresses(), admit)
	if err != nil {
		err = fmt.Errorf("mount target %s cannot listen on %s: %w", t.ID, strings.Join(t.Addresses(), " and "), err)
	} else {
		w.listening[t.ID] = admit.String()
	}
	w.c.publish(w.id, func(l *live) {
		delete(l.targets, t.ID)
		if err != nil {
			l.targets[t.ID] = err
		}
		delete(l.listening, t.ID)
		if err == nil {
			l.listening[t.ID] = admit.String()
		}
	})
	return err
}

func (w *worker) targetAvailable(id string) error {
	return w.c.update(func(t *tx) error {
		m := t.mountTargets[id]
		if m == nil || m.State != Creating {
			return nil
		}
		made := *m
		made.State = Available
		t.putMountTarget(made)
		return nil
	})
}
