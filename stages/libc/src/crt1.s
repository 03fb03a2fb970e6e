# The first instructions of a program under the System V calling convention of
# tcc and gcc. The kernel leaves argc, argv and the environment on the stack;
# their address is the argument of __libc_start. rsp is a multiple of 16 here, as
# it has to be before a call. ccb has its own _start.
.globl _start
_start:
    xor %ebp, %ebp
    mov %rsp, %rdi
    call __libc_start
