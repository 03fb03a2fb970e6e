package document

// SortMembers is sortMembers.
var SortMembers = sortMembers
