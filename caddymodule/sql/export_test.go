package sql

// RoleList reads the column of roles.
var RoleList = roleList
