// Package internal holds the rooms that only caddymodule may enter. Each knows the domain (package auth)
// and one technology, and none knows another; imports_test.go keeps it so.
package internal
