/* SPDX-License-Identifier: MIT
 *
 * Entry of the x86_64 image: from a PVH loader (32-bit protected mode, paging off, EBX = start info; Xen's
 * docs/misc/pvh.pandoc) to machine_start() in long mode on the boot stack. Also the context switch.
 *
 * The page tables made here map the first 4 GiB, writable, and live only until mmu_initialise().
 */
#define CR0_PE_WP_PG 0x80010001   /* Intel SDM 3A, 2.5: protection, write protect, paging */
#define CR4_PAE 0x20
#define EFER_MSR 0xc0000080
#define EFER_LME_NXE 0x900        /* long mode, no-execute */
#define TABLE_PRESENT_WRITE 0x3
#define BLOCK_PRESENT_WRITE 0x83  /* 2 MiB page */
#define CODE_SELECTOR 0x08
#define DATA_SELECTOR 0x10

    .section .note.pvh, "a", @note
    .align 4
    .long 4, 4, 18                /* name size, value size, XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .long _start

    .section .text.start, "ax", @progbits
    .code32
    .globl _start
_start:
    cli
    cld
    movl %ebx, %esi               /* kept until machine_start() */
    movl $image_bss_start, %edi
    movl $image_end, %ecx
    subl %edi, %ecx
    shrl $2, %ecx
    xorl %eax, %eax
    rep stosl

    movl $boot_directories, %edi  /* 2048 blocks of 2 MiB */
    movl $BLOCK_PRESENT_WRITE, %eax
    movl $2048, %ecx
1:  movl %eax, (%edi)
    addl $0x200000, %eax
    addl $8, %edi
    decl %ecx
    jnz 1b
    movl $boot_directories + TABLE_PRESENT_WRITE, boot_pointers
    movl $boot_directories + 4096 + TABLE_PRESENT_WRITE, boot_pointers + 8
    movl $boot_directories + 8192 + TABLE_PRESENT_WRITE, boot_pointers + 16
    movl $boot_directories + 12288 + TABLE_PRESENT_WRITE, boot_pointers + 24
    movl $boot_pointers + TABLE_PRESENT_WRITE, boot_root

    movl $CR4_PAE, %eax
    movl %eax, %cr4
    movl $boot_root, %eax
    movl %eax, %cr3
    movl $EFER_MSR, %ecx
    rdmsr
    orl $EFER_LME_NXE, %eax
    wrmsr
    movl $CR0_PE_WP_PG, %eax
    movl %eax, %cr0
    lgdt boot_gdt_pointer
    ljmp $CODE_SELECTOR, $2f

    .code64
2:  movl $DATA_SELECTOR, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    movl $boot_stack_end, %esp
    xorl %ebp, %ebp
    movl %esi, %edi
    call machine_start
    ud2

/* void arch_context_switch(uintptr_t *saved, uintptr_t resumed) */
    .text
    .globl arch_context_switch
arch_context_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret

    .section .rodata
    .align 8
boot_gdt:
    .quad 0
    .quad 0x00af9a000000ffff      /* 64-bit code */
    .quad 0x00cf92000000ffff      /* data */
boot_gdt_end:
boot_gdt_pointer:
    .word boot_gdt_end - boot_gdt - 1
    .quad boot_gdt

    .bss
    .align 4096
boot_root:
    .skip 4096
boot_pointers:
    .skip 4096
boot_directories:
    .skip 16384
    .skip 16384
boot_stack_end:
