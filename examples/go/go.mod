module example

go 1.19

require github.com/libtare/libtare/bindings/go v0.0.0

// A program outside of this repository goes without this line.
replace github.com/libtare/libtare/bindings/go => ../../bindings/go
