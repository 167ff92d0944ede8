package demo

import (
	"fmt"
	"hash/fnv"
	iofs "io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// input is the tree that is copied in.
type input struct {
	dir   string
	files []string // regular files, relative, in order
	count int64
	bytes int64
}

// chooseInput takes the directory that was asked for, else the sources of a Go
// toolchain on this machine, else it makes a tree in scratch.
func chooseInput(from, scratch string) (*input, error) {
	if from == "" {
		from = goSources()
	}
	if from == "" {
		from = filepath.Join(scratch, "input")
		if err := generate(from, generatedDirs, generatedFiles); err != nil {
			return nil, fmt.Errorf("make a tree to copy: %w", err)
		}
	}
	in := &input{dir: from}
	err := filepath.WalkDir(from, func(path string, e iofs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		in.files = append(in.files, filepath.ToSlash(rel))
		in.count++
		in.bytes += fi.Size()
		return err
	})
	if err == nil && in.count == 0 {
		err = fmt.Errorf("there is no file in it")
	}
	if err != nil {
		return nil, fmt.Errorf("read the tree %s: %w; give another directory with --from", from, err)
	}
	return in, nil
}

// goSources is the src directory of a Go toolchain, "" if there is none.
func goSources() string {
	roots := []string{os.Getenv("GOROOT")}
	if tool, err := exec.LookPath("go"); err == nil {
		if real, err := filepath.EvalSymlinks(tool); err == nil {
			roots = append(roots, filepath.Dir(filepath.Dir(real)))
		}
	}
	for _, r := range append(roots, "/usr/local/go", "/usr/lib/go") {
		if r == "" {
			continue
		}
		src, err := filepath.EvalSymlinks(filepath.Join(r, "src"))
		if err != nil {
			continue
		}
		if fi, err := os.Stat(filepath.Join(src, "fmt")); err == nil && fi.IsDir() {
			return src
		}
	}
	return ""
}

const (
	generatedDirs  = 60
	generatedFiles = 40       // in each
	generatedMax   = 32 << 10 // bytes of one file
)

// generate makes the same tree every time: text that compresses about as
// source code does.
func generate(dir string, dirs, files int) error {
	r := rand.New(rand.NewPCG(7, 7))
	for d := range dirs {
		sub := filepath.Join(dir, fmt.Sprintf("part-%d", d/8), fmt.Sprintf("dir-%02d", d))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return err
		}
		for f := range files {
			if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("file-%02d.txt", f)), prose(r, r.IntN(generatedMax)), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

func prose(r *rand.Rand, n int) []byte {
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, "%x lines of %x say %d\n", r.Uint32(), r.Uint64(), r.IntN(100))
	}
	return []byte(b.String()[:n])
}

// sampleSize is about how many files a comparison of contents reads.
const sampleSize = 400

// sampler chooses about sampleSize of so many paths, always the same.
func sampler(files int64) func(path string) bool {
	every := uint32(max(1, files/sampleSize))
	return func(path string) bool {
		h := fnv.New32a()
		h.Write([]byte(path))
		return h.Sum32()%every == 0
	}
}

// bigDir is the directory at the top of the tree with the most files below,
// and their number; "" when the tree is flat.
func (in *input) bigDir() (name string, files int) {
	counts := map[string]int{}
	for _, f := range in.files {
		if top, _, deep := strings.Cut(f, "/"); deep {
			counts[top]++
			if n := counts[top]; n > files || n == files && top < name {
				name, files = top, n
			}
		}
	}
	return name, files
}
