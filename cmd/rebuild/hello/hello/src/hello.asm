# hello: prints a line. The language is in docs/seed-chain.md of rebuild. Its
# amd64.asm has the mnemonics; one that is not there is written like this:
=mov_dl,i8  b2

:start
  mov_eax,i32 4:1          # write
  mov_edi,i32 4:1          # to standard output
  mov_esi,i32 $text
  xor_edx,edx
  mov_dl,i8 1:6            # bytes
  syscall
  mov_eax,i32 4:60         # exit
  mov_edi,i32 4:0
  syscall

:text
  "hello" 0a
:end-of-file
