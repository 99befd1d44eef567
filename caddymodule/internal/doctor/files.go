package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// files looks at who may read the keys and the records.
func files(_ context.Context, p *Patient, c *config) (found []Finding, skipped string) {
	look := func(path string, most fs.FileMode) {
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return
		case err != nil:
			skipped = err.Error()
		case info.Mode().Perm()&^most != 0:
			found = append(found, Finding{
				fmt.Sprintf("%s can be read or changed by others (mode %04o).", path, info.Mode().Perm()),
				fmt.Sprintf("chmod %04o %s. If it is a key, whoever could read it may have copied it: make another one.", info.Mode().Perm()&most, path),
			})
		}
	}
	for _, file := range secretFiles(c) {
		look(file, 0o640) // a group may be how it is handed to Caddy
	}
	dir, why := p.storeDir(c)
	if why != "" {
		return found, why
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return found, "there is no store at " + dir + " yet"
	}
	look(dir, 0o700)
	look(filepath.Join(dir, "master.key"), 0o600)
	look(filepath.Join(dir, "data.keys"), 0o600)
	return found, skipped
}

// storeDir is where the embedded store is.
func (p *Patient) storeDir(c *config) (dir, why string) {
	store, given := c.Apps.Sidegate["store"].(map[string]any)
	if given && store["engine"] != "badger" {
		return "", "the store is not one of files"
	}
	path, _ := store["path"].(string)
	if path == "" {
		return p.StoreDir, ""
	}
	dir, err := p.Resolve(path)
	if err != nil {
		return "", "the store's path has no value here"
	}
	return dir, ""
}

// secretFiles are the files that the configuration takes secrets from.
func secretFiles(c *config) (paths []string) {
	for _, t := range texts(c.Apps.Sidegate) {
		if !isSecret(t.key) {
			continue
		}
		if path, ok := strings.CutPrefix(t.value, "{file."); ok {
			paths = append(paths, strings.TrimSuffix(path, "}"))
		}
	}
	return paths
}
