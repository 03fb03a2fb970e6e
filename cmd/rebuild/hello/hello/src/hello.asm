# hello: prints a line. The language is in docs/seed-chain.md of rebuild. Its
# amd64.asm has the mnemonics; one that is not there is written like this:
=mov_edx,i32  ba

:start
  mov_eax,i32 4:1          # write
  mov_edi,i32 4:1          # to standard output
  mov_esi,i32 $text
  mov_edx,i32 4:6          # bytes
  syscall
  mov_eax,i32 4:60         # exit
  mov_edi,i32 4:0
  syscall

:text
  "hello" 0a
:end-of-file
