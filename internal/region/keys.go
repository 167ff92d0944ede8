package region

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"sort"
	"strings"
	"sync"

	"github.com/holdfast-fs/holdfast/internal/config"
	"github.com/holdfast-fs/holdfast/internal/control"
	"github.com/holdfast-fs/holdfast/internal/seal"
)

// keeper has the keys of the configuration, by ARN.
type keeper map[string]seal.Wrapper

// OpenKeys gives the keys for encryption at rest of a configuration. Key files are
// read now, commands asked when a file system is opened.
func OpenKeys(c *config.Config) (seal.Keeper, error) {
	k := keeper{}
	for i, key := range c.Encryption.Keys {
		arn := key.ARN(c.Region, c.AccountID)
		if key.File == "" {
			k[arn] = &remembering{Wrapper: seal.Command(key.Command, arn, key.Timeout()), known: map[string][]byte{}}
			continue
		}
		w, err := seal.KeyFile(key.File, rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("encryption.keys[%d]: %w", i, err)
		}
		k[arn] = w
	}
	return k, nil
}

// remembering asks once for each data key: a file system that went to rest wakes
// up without the command. It holds no more than the engines of all file systems
// would.
type remembering struct {
	seal.Wrapper
	mu    sync.Mutex
	known map[string][]byte
}

// maxKnown is more than a region has file systems; those that were deleted are
// among them.
const maxKnown = 4 * control.MaxFileSystems

// Unwrap implements seal.Wrapper.
func (r *remembering) Unwrap(wrapped []byte, context string) ([]byte, error) {
	name := context + "\x00" + string(wrapped)
	r.mu.Lock()
	key, ok := r.known[name]
	r.mu.Unlock()
	if ok {
		return bytes.Clone(key), nil
	}
	key, err := r.Wrapper.Unwrap(wrapped, context)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.known) >= maxKnown {
		clear(r.known)
	}
	r.known[name] = bytes.Clone(key)
	return key, nil
}

// Wrapper implements seal.Keeper.
func (k keeper) Wrapper(arn string) (seal.Wrapper, error) {
	if w := k[arn]; w != nil {
		return w, nil
	}
	var all []string
	for known := range k {
		all = append(all, known)
	}
	sort.Strings(all)
	have := "none is"
	if len(all) > 0 {
		have = "there are " + strings.Join(all, ", ")
	}
	return nil, fmt.Errorf("the key %s is not in the configuration (%s): add it to encryption.keys again; what it wrapped cannot be read without it", arn, have)
}

func kmsKeys(c *config.Config) []control.KMSKey {
	var all []control.KMSKey
	for _, k := range c.Encryption.Keys {
		all = append(all, control.KMSKey{ID: k.ID, Alias: k.Alias})
	}
	return all
}
