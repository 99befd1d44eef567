package badgerstore

import (
	"os"
	"path/filepath"
	"testing"
)

func TestSizeLeavesHolesOut(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "db"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "epoch"), make([]byte, 10_000), 0o600); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "db", "log")
	if err := os.WriteFile(log, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(log, 1<<30); err != nil {
		t.Fatal(err)
	}
	if size, err := Size(dir); err != nil || size < 10_000 || size > 1<<20 {
		t.Errorf("got %d, %v", size, err)
	}
	if size, err := Size(filepath.Join(dir, "nothing")); err != nil || size != 0 {
		t.Errorf("of what is not there: %d, %v", size, err)
	}
}
