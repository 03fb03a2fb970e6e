# The headers of a program for Linux on x86-64: one segment at 0x400000, where
# asm puts the first byte, with 16 MB of zeroed memory up to 0x1400000. Stands
# before the program, which has the labels start and end-of-file.

# ELF header, 64 bytes
7f "ELF"                  # e_ident: magic
1:2 1:1 1:1               # e_ident: 64 bit, little endian, version 1
1:0 8:0                   # e_ident: System V, padding
2:2                       # e_type: executable at a fixed address
2:62                      # e_machine: x86-64
4:1                       # e_version
&start                    # e_entry
8:64                      # e_phoff: right behind this header
8:0                       # e_shoff: no section headers
4:0                       # e_flags
2:64 2:56 2:1             # e_ehsize, e_phentsize, e_phnum
2:0 2:0 2:0               # e_shentsize, e_shnum, e_shstrndx

# program header, 56 bytes
4:1                       # p_type: load
4:7                       # p_flags: read, write, execute
8:0                       # p_offset: from the first byte of the file
8:0x400000                # p_vaddr
8:0x400000                # p_paddr: unused
+end-of-file              # p_filesz
8:0x1000000               # p_memsz
8:0x1000                  # p_align
