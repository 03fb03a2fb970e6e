# What C can not say: system calls and jumps out of functions, for the System V
# calling convention of tcc and gcc. ccb has these three built in.

# long __syscall(long number, long a, long b, long c, long d, long e, long f)
# The kernel wants the number in rax and the arguments in rdi, rsi, rdx, r10, r8,
# r9; it keeps all other registers but rcx and r11.
.globl __syscall
__syscall:
    mov %rdi, %rax
    mov %rsi, %rdi
    mov %rdx, %rsi
    mov %rcx, %rdx
    mov %r8, %r10
    mov %r9, %r8
    mov 8(%rsp), %r9
    syscall
    ret

# int __setjmp(void *registers)
# Keeps what a function has to keep, the caller's stack pointer, and where to go
# on.
.globl __setjmp
__setjmp:
    mov %rbx, (%rdi)
    mov %rbp, 8(%rdi)
    mov %r12, 16(%rdi)
    mov %r13, 24(%rdi)
    mov %r14, 32(%rdi)
    mov %r15, 40(%rdi)
    lea 8(%rsp), %rax
    mov %rax, 48(%rdi)
    mov (%rsp), %rax
    mov %rax, 56(%rdi)
    xor %eax, %eax
    ret

# void __longjmp(void *registers, int value)
# __setjmp returns again, with the value.
.globl __longjmp
__longjmp:
    mov %esi, %eax
    mov (%rdi), %rbx
    mov 8(%rdi), %rbp
    mov 16(%rdi), %r12
    mov 24(%rdi), %r13
    mov 32(%rdi), %r14
    mov 40(%rdi), %r15
    mov 48(%rdi), %rsp
    jmp *56(%rdi)
