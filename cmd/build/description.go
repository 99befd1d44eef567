package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/caddyserver/xcaddy"
)

// description is xcaddy.Builder under its own JSON names. xcaddy reads no file and its struct has no
// TOML names, so they are repeated here; a test keeps the two lists equal.
type description struct {
	OS           string        `toml:"os"`            // GOOS; default: the environment's, then this machine's
	Arch         string        `toml:"arch"`          // GOARCH; default as above
	ARM          string        `toml:"arm"`           // GOARM; default: the environment's
	Cgo          bool          `toml:"cgo"`           // false sets CGO_ENABLED=0
	CaddyVersion string        `toml:"caddy_version"` // tag, branch or commit; empty is the latest tag
	Plugins      []plugin      `toml:"plugins"`       // what is compiled in besides Caddy
	Replacements []replacement `toml:"replacements"`  // go.mod replace directives
	TimeoutGet   time.Duration `toml:"timeout_get"`   // "5m"; zero: no limit
	TimeoutBuild time.Duration `toml:"timeout_build"` // "30m", downloads included; zero: no limit
	RaceDetector bool          `toml:"race_detector"` // turns cgo on
	SkipCleanup  bool          `toml:"skip_cleanup"`  // leaves the temporary module for a look
	SkipBuild    bool          `toml:"skip_build"`    // stops once the module is ready
	Debug        bool          `toml:"debug"`         // keeps symbols, for dlv
	BuildFlags   string        `toml:"build_flags"`   // given to go build; xcaddy then leaves out -trimpath and "-ldflags -w -s"
	ModFlags     string        `toml:"mod_flags"`     // given to go mod
	EmbedDirs    []embedDir    `toml:"embed_dir"`     // directories served by Caddy's embedded file system
}

type plugin struct {
	ModulePath string `toml:"module_path"`
	Version    string `toml:"version"` // empty is the latest
}

type replacement struct {
	Old string `toml:"old"`
	New string `toml:"new"` // a directory when it starts with a dot (from the file's directory) or is absolute
}

type embedDir struct {
	Dir  string `toml:"dir"`
	Name string `toml:"name"`
}

// load reads a description strictly: a misspelt key would otherwise build a Caddy that lacks what it names.
func load(file string) (description, error) {
	var d description
	meta, err := toml.DecodeFile(file, &d)
	if err != nil {
		return d, fmt.Errorf("%s: %w", file, err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return d, fmt.Errorf("%s: unknown key %q", file, unknown[0].String())
	}
	if err := d.check(); err != nil {
		return d, fmt.Errorf("%s: %w", file, err)
	}
	return d, d.anchor(filepath.Dir(file))
}

func (d description) check() error {
	for _, p := range d.Plugins {
		if p.ModulePath == "" {
			return errors.New("a [[plugins]] entry has no module_path")
		}
	}
	for _, r := range d.Replacements {
		if r.Old == "" || r.New == "" {
			return errors.New("a [[replacements]] entry needs both old and new")
		}
	}
	for _, e := range d.EmbedDirs {
		if e.Dir == "" {
			return errors.New("an [[embed_dir]] entry has no dir")
		}
	}
	return nil
}

// anchor makes relative directories absolute, seen from base: xcaddy works in a temporary directory.
func (d description) anchor(base string) error {
	base, err := filepath.Abs(base)
	if err != nil {
		return err
	}
	for i, r := range d.Replacements {
		if strings.HasPrefix(r.New, ".") {
			d.Replacements[i].New = filepath.Join(base, r.New)
		}
	}
	for i, e := range d.EmbedDirs {
		if !filepath.IsAbs(e.Dir) {
			d.EmbedDirs[i].Dir = filepath.Join(base, e.Dir)
		}
	}
	return nil
}

func (d description) builder() xcaddy.Builder {
	b := xcaddy.Builder{
		Compile:      xcaddy.Compile{Platform: xcaddy.Platform{OS: d.OS, Arch: d.Arch, ARM: d.ARM}, Cgo: d.Cgo},
		CaddyVersion: d.CaddyVersion,
		TimeoutGet:   d.TimeoutGet,
		TimeoutBuild: d.TimeoutBuild,
		RaceDetector: d.RaceDetector,
		SkipCleanup:  d.SkipCleanup,
		SkipBuild:    d.SkipBuild,
		Debug:        d.Debug,
		BuildFlags:   d.BuildFlags,
		ModFlags:     d.ModFlags,
	}
	for _, p := range d.Plugins {
		b.Plugins = append(b.Plugins, xcaddy.Dependency{PackagePath: p.ModulePath, Version: p.Version})
	}
	for _, r := range d.Replacements {
		b.Replacements = append(b.Replacements, xcaddy.NewReplace(r.Old, r.New))
	}
	for _, e := range d.EmbedDirs {
		b.EmbedDirs = append(b.EmbedDirs, struct {
			Dir  string `json:"dir,omitempty"`
			Name string `json:"name,omitempty"`
		}(e))
	}
	return b
}
